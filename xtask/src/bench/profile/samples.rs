//! Reading what the profiler saw.

use std::collections::BTreeMap;

use super::part::Part;

/// Samples by part, from `perf script --fields event,ip,sym`: a line for each sample, below it one for each function
/// of the kernel, innermost first.
pub(super) fn count(text: &str) -> BTreeMap<Part, u32> {
    let mut counts = BTreeMap::new();
    for sample in text
        .split("\n\n")
        .filter(|sample| !sample.trim().is_empty())
    {
        let frames: Vec<&str> = sample
            .lines()
            .filter(|line| line.starts_with(['\t', ' ']))
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        *counts.entry(Part::of(&frames)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the profiler prints, of every sort of sample.
    const PRINTED: &str = "cpu-clock: \n\
        \n\
        cpu-clock: \n\
        \tffffffff8140a35e htab_map_hash\n\
        \tffffffffc0201234 bpf_prog_1234567890abcdef_receive4\n\
        \tffffffffc0201234 bpf_prog_1234567890abcdef_from_pod\n\
        \tffffffff8136213d tcx_run\n\
        \tffffffff8136238e __netif_receive_skb_core\n\
        \tffffffff821f46a1 tcp_write_xmit\n\
        \n\
        cpu-clock: \n\
        \tffffffff8140a35e bpf_sk_storage_get\n\
        \tffffffffc0201234 bpf_prog_1234567890abcdef_connect4\n\
        \tffffffff8136213d __cgroup_bpf_run_filter_sock_addr\n\
        \tffffffff8136213d inet_stream_connect\n\
        \n\
        cpu-clock: \n\
        \tffffffff8140a35e nf_conntrack_in\n\
        \tffffffff8136213d ip_rcv\n\
        \n\
        cpu-clock: \n\
        \tffffffff8140a35e kmem_cache_alloc\n\
        \tffffffff8136213d tcp_conn_request\n\
        \tffffffff8136213d ip_rcv\n\
        \n\
        cpu-clock: \n\
        \tffffffff8140a35e pv_native_safe_halt\n\
        \tffffffff8136213d do_idle\n\
        \n\
        cpu-clock: \n\
        \tffffffff8140a35e clear_page_erms\n\
        \n";

    #[test]
    fn each_sample_counts_once_and_where_it_belongs() {
        let counts = count(PRINTED);
        for part in [
            Part::User,
            Part::Interfaces,
            Part::Sockets,
            Part::Netfilter,
            Part::Transport,
            Part::Idle,
            Part::Other,
        ] {
            assert_eq!(counts.get(&part), Some(&1), "{part:?} of {counts:?}");
        }
        assert_eq!(counts.values().sum::<u32>(), 7);
    }
}
