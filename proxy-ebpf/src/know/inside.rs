//! What is inside the cluster, where pods speak under their own address.

use aya_ebpf::btf_maps::lpm_trie::Key;

use crate::maps::Family;

/// Whether an address, which stands on the stack, is inside.
#[inline(always)]
pub fn has<F: Family>(address: &F::Address) -> bool {
    let bits = 8 * size_of::<F::Address>() as u32;
    F::inside().get(&Key::new(bits, *address)).is_some()
}
