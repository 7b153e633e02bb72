//! What is inside the cluster, where pods speak under their own address.

use aya_ebpf::btf_maps::lpm_trie::Key;

use proxy_common::inside::{INSIDE_NODE, INSIDE_PODS};

use crate::maps::Family;

/// Whether an address, which stands on the stack, is inside.
#[inline(always)]
pub fn has<F: Family>(address: &F::Address) -> bool {
    reason::<F>(address) != 0
}

/// Whether an address, which stands on the stack, is a pod's or a node's.
#[inline(always)]
pub fn is_of_cluster<F: Family>(address: &F::Address) -> bool {
    matches!(reason::<F>(address), INSIDE_PODS | INSIDE_NODE)
}

/// Why an address is inside; 0 if it is not.
#[inline(always)]
fn reason<F: Family>(address: &F::Address) -> u32 {
    let bits = 8 * size_of::<F::Address>() as u32;
    let inside = F::inside().get(&Key::new(bits, *address));
    inside.map_or(0, |inside| inside.reason)
}
