//! What the programs need of a kernel, found by trying each: distributions bring much of it to kernels with older numbers, and some
//! builds leave it out of newer ones.

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};

/// One thing that is needed.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// What the kernel is asked.
    pub ask: Ask,
    /// As the kernel names it.
    pub name: &'static str,
    /// The version of Linux that began with it.
    pub since: &'static str,
    /// What does not work without.
    pub cost: &'static str,
}

/// A question that the kernel answers by what it loads.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// Programs of this type.
    Program(ProgramType),
    /// Maps of this type.
    Map(MapType),
    /// This helper, for programs of this type.
    Helper(ProgramType, BpfHelper),
}

const TC: ProgramType = ProgramType::SchedClassifier;
const XDP: ProgramType = ProgramType::Xdp;
const SOCKETS: ProgramType = ProgramType::CgroupSockAddr;

const fn feature(ask: Ask, name: &'static str, since: &'static str, cost: &'static str) -> Feature {
    Feature {
        ask,
        name,
        since,
        cost,
    }
}

/// All of it. What only makes things faster (TCX, netkit, XDP in drivers) is found elsewhere, and nothing is refused for it.
pub const NEEDED: [Feature; 19] = [
    feature(Ask::Program(TC), "programs of tc", "4.1", "pods and links"),
    feature(
        Ask::Program(XDP),
        "programs of XDP",
        "4.8",
        "Services from outside",
    ),
    feature(
        Ask::Program(SOCKETS),
        "programs of cgroups for addresses of sockets",
        "4.17",
        "Services of processes",
    ),
    feature(
        Ask::Map(MapType::LpmTrie),
        "maps of prefixes (LPM_TRIE)",
        "4.11",
        "policy by ranges of addresses, masquerade, tunnels",
    ),
    feature(
        Ask::Map(MapType::LruHash),
        "maps that forget (LRU_HASH)",
        "4.10",
        "session affinity, fragments",
    ),
    feature(
        Ask::Map(MapType::SkStorage),
        "storage of sockets (SK_STORAGE)",
        "5.2",
        "getpeername of connections to Services",
    ),
    feature(
        Ask::Helper(TC, BpfHelper::BPF_FUNC_fib_lookup),
        "bpf_fib_lookup",
        "4.18",
        "ways to other nodes",
    ),
    feature(
        Ask::Helper(TC, BpfHelper::BPF_FUNC_redirect_neigh),
        "bpf_redirect_neigh",
        "5.10",
        "ways to other nodes",
    ),
    feature(
        Ask::Helper(TC, BpfHelper::BPF_FUNC_redirect_peer),
        "bpf_redirect_peer",
        "5.10",
        "delivery to pods",
    ),
    feature(
        Ask::Helper(TC, BpfHelper::BPF_FUNC_check_mtu),
        "bpf_check_mtu",
        "5.12",
        "path MTU discovery",
    ),
    feature(
        Ask::Helper(TC, BpfHelper::BPF_FUNC_ktime_get_coarse_ns),
        "bpf_ktime_get_coarse_ns",
        "5.11",
        "the age of flows",
    ),
    feature(
        Ask::Helper(TC, BpfHelper::BPF_FUNC_loop),
        "bpf_loop",
        "5.17",
        "records of flows",
    ),
    feature(
        Ask::Helper(TC, BpfHelper::BPF_FUNC_skb_set_tstamp),
        "bpf_skb_set_tstamp",
        "5.18",
        "limits of bandwidth",
    ),
    feature(
        Ask::Helper(TC, BpfHelper::BPF_FUNC_skb_set_tunnel_key),
        "bpf_skb_set_tunnel_key",
        "4.3",
        "the tunnel to other nodes",
    ),
    feature(
        Ask::Helper(XDP, BpfHelper::BPF_FUNC_xdp_load_bytes),
        "bpf_xdp_load_bytes",
        "5.18",
        "Services from outside",
    ),
    feature(
        Ask::Helper(XDP, BpfHelper::BPF_FUNC_xdp_get_buff_len),
        "bpf_xdp_get_buff_len",
        "5.18",
        "Services from outside",
    ),
    feature(
        Ask::Helper(SOCKETS, BpfHelper::BPF_FUNC_sk_storage_get),
        "bpf_sk_storage_get of sockets' addresses",
        "5.8",
        "getpeername of connections to Services",
    ),
    feature(
        Ask::Helper(SOCKETS, BpfHelper::BPF_FUNC_get_netns_cookie),
        "bpf_get_netns_cookie",
        "5.7",
        "session affinity of processes",
    ),
    feature(
        Ask::Helper(SOCKETS, BpfHelper::BPF_FUNC_set_retval),
        "bpf_set_retval",
        "5.18",
        "connections to Services without endpoints, which are refused at once",
    ),
];

/// Whether the kernel has it. Where it gives no answer the verifier is left to say.
pub fn has(ask: Ask) -> bool {
    match ask {
        Ask::Program(kind) => is_program_supported(kind).unwrap_or(true),
        Ask::Map(kind) => is_map_supported(kind).unwrap_or(true),
        Ask::Helper(kind, helper) => is_helper_supported(kind, helper).unwrap_or(true),
    }
}

/// What is missing, each with what it costs and since when Linux has it.
pub fn lacking(has: impl Fn(Ask) -> bool) -> Vec<String> {
    let lacking = NEEDED.iter().filter(|feature| !has(feature.ask));
    let in_words = |feature: &Feature| {
        let Feature {
            name, since, cost, ..
        } = feature;
        format!("{name} (Linux {since}), for {cost}")
    };
    lacking.map(in_words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each alone, and all.
    #[test]
    fn what_is_missing_is_named_with_what_it_costs() {
        assert_eq!(lacking(|_| true), [""; 0]);
        for feature in &NEEDED {
            let asked = format!("{:?}", feature.ask);
            let named = lacking(|ask| format!("{ask:?}") != asked);
            let [named] = named.as_slice() else {
                panic!("{named:?}");
            };
            for word in [feature.name, feature.since, feature.cost] {
                assert!(named.contains(word), "{named}");
            }
        }
        assert_eq!(lacking(|_| false).len(), NEEDED.len());
    }
}
