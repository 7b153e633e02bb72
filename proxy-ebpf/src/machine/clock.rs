//! The clock of flows.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use proxy_common::time::seconds;

/// Seconds since boot.
#[inline(always)]
pub fn now() -> u32 {
    // SAFETY: a helper without arguments.
    seconds(unsafe { bpf_ktime_get_coarse_ns() })
}
