//! Source ranges: who may use a load balancer's address (`loadBalancerSourceRanges`).

use aya_ebpf::btf_maps::lpm_trie::Key;
use proxy_common::frontends::{FLAG_SOURCES, Frontend};
use proxy_common::sources::SourceKey;

use crate::machine::words::to_stack;
use crate::maps::Family;

/// Whether a frontend serves a client with this address. However many ranges its Service names, it is one look-up; none
/// where it names no range.
#[inline(always)]
pub fn allow<F: Family>(frontend: &Frontend, client: &F::Address) -> bool {
    frontend.flags & FLAG_SOURCES == 0 || has::<F>(frontend.service, client)
}

/// Not inlined, for the need of stack.
#[inline(never)]
fn has<F: Family>(service: u32, client: &F::Address) -> bool {
    let key = SourceKey {
        service,
        address: to_stack(client),
    };
    let bits = 8 * size_of::<SourceKey<F::Address>>() as u32;
    F::sources().get(&Key::new(bits, key)).is_some()
}
