//! What the agent says of the node.

use core::ptr::read_volatile;

use aya_ebpf::btf_maps::{PerCpuArray, lpm_trie::Key};
use aya_ebpf::macros::btf_map;
use proxy_common::conntrack::{DEFAULT_TIMEOUTS, Timeouts};
use proxy_common::node::{
    LINK_SOURCES_BY_ROUTE, Link, NODE_ENCRYPTS, NODE_FORWARD_BPF, NODE_HAS_RANGES,
    NODE_MASQUERADE4, NODE_MASQUERADE6, NodeConfig,
};
use proxy_common::route_sources::RouteSourceKey;

use crate::machine::words::{copy, same};
use crate::maps::{Family, LINKS, NODE_CONFIG, NODE_PORTS};

/// The node's configuration.
#[inline(always)]
pub fn config() -> Option<&'static NodeConfig> {
    NODE_CONFIG.get(0)
}

/// Whether this `NODE_*` bit is set.
#[inline(always)]
pub fn is_set(flag: u32) -> bool {
    config().is_some_and(|config| config.flags & flag != 0)
}

/// Whether packets pass the host's stack by.
#[inline(always)]
pub fn forwards() -> bool {
    is_set(NODE_FORWARD_BPF)
}

/// Whether what pods send out of the cluster leaves in the node's name.
#[inline(always)]
pub fn masquerades<F: Family>() -> bool {
    is_set(if F::IPV6 {
        NODE_MASQUERADE6
    } else {
        NODE_MASQUERADE4
    })
}

/// What the agent says of a link; none if it has not seen it yet.
#[inline(always)]
pub fn link(ifindex: u32) -> Option<&'static Link> {
    // SAFETY: values are replaced whole by the agent; words, read at once.
    unsafe { LINKS.get(ifindex) }
}

/// `LINK_*` bits of a link; none if the agent has not seen it yet.
#[inline(always)]
pub fn link_flags(ifindex: u32) -> Option<u32> {
    link(ifindex).map(|link| link.flags)
}

/// Interface index of `weir_host`; 0 for none.
#[inline(always)]
pub fn host_device() -> u32 {
    config().map_or(0, |config| config.host_device)
}

/// Whether the tunnel or the device that encrypts may lead elsewhere than the routing tables.
#[inline(always)]
pub fn diverts() -> bool {
    config().is_some_and(|config| (config.tunnel_device | config.flags & NODE_ENCRYPTS) != 0)
}

/// UDP port of the tunnel, network order; 0 while there is none.
#[inline(always)]
pub fn tunnel_port() -> u16 {
    config().map_or(0, |config| config.tunnel_port)
}

/// How long flows of a kind live, in seconds: the time-out that `of` takes from those of the node, or the default.
#[inline(always)]
pub fn timeout(of: impl Fn(&Timeouts) -> u32) -> u32 {
    match config().map(|config| of(&config.timeouts)) {
        Some(0) | None => of(&DEFAULT_TIMEOUTS),
        Some(seconds) => seconds,
    }
}

/// Whether no flow may begin, `now` seconds after boot.
#[inline(always)]
pub fn settles(now: u32) -> bool {
    config().is_some_and(|config| config.settles >= now)
}

/// The node's internal address; unspecified for none.
#[inline(always)]
pub fn own<F: Family>() -> F::Address {
    config().map_or(F::UNSPECIFIED, |config| {
        F::of_pair(config.address4, config.address6)
    })
}

/// Whether an address is the node's internal one.
#[inline(always)]
pub fn is_own<F: Family>(address: &F::Address) -> bool {
    let address = &raw const *address;
    config().is_some_and(|config| {
        // SAFETY: of the two families there are, this is the address's.
        unsafe {
            if F::IPV6 {
                same(&config.address6, &*address.cast())
            } else {
                same(&config.address4, &*address.cast())
            }
        }
    })
}

/// As [`any_address`], but of large ranges; the address stands on the stack or in a map.
#[inline(always)]
pub(super) fn address<F: Family>(address: &F::Address) -> u32 {
    // SAFETY: one word, read at once.
    unsafe { F::node_addresses().get(address) }.map_or(0, |flags| *flags)
}

/// `ADDRESS_*` bits of an address, which stands on the stack; 0 if it is not one of this node's.
#[inline(always)]
pub fn any_address<F: Family>(of: &F::Address) -> u32 {
    match address::<F>(of) {
        0 if is_set(NODE_HAS_RANGES) => in_range::<F>(of),
        flags => flags,
    }
}

/// As [`any_address`], for programs of sockets, which those of packets interrupt.
#[inline(always)]
pub fn any_address_of_socket<F: Family>(of: &F::Address) -> u32 {
    match address::<F>(of) {
        0 if is_set(NODE_HAS_RANGES) => {
            let key = Key::new(8 * size_of::<F::Address>() as u32, *of);
            F::node_ranges().get(&key).map_or(0, |flags| *flags)
        }
        flags => flags,
    }
}

/// A key of `NODE_RANGES*`, length and address: the stack has no room. Private to one load of the programs.
#[btf_map]
pub static NODE_RANGE_KEY: PerCpuArray<[u32; 5], 1> = PerCpuArray::new();

/// `ADDRESS_*` bits of an address by the large range in which it is; 0 for none.
#[inline(always)]
fn in_range<F: Family>(address: &F::Address) -> u32 {
    let Some(key) = NODE_RANGE_KEY.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the map's own memory, each CPU has its own; four words behind the first, of which the address takes one or all.
    let flags = unsafe {
        (*key)[0] = 8 * size_of::<F::Address>() as u32;
        copy(&raw const *address, (&raw mut (*key)[1]).cast());
        F::node_ranges().get(&*key.cast::<Key<F::Address>>())
    };
    flags.map_or(0, |flags| *flags)
}

/// Whether a port (network order) of this node can concern more than the host's own sockets: a frontend or a backend on
/// the host has it, or it may be one that a translated source was given.
#[inline(always)]
pub fn port_matters(port: u16) -> bool {
    let port = u16::from_be(port);
    let translated = config()
        .is_some_and(|config| config.source_port_min <= port && port <= config.source_port_max);
    translated || has_port(port)
}

/// Whether a frontend or a backend on the host has a port (network order).
#[inline(always)]
pub fn port_serves(port: u16) -> bool {
    has_port(u16::from_be(port))
}

#[inline(always)]
fn has_port(port: u16) -> bool {
    NODE_PORTS
        .get_ptr(u32::from(port >> 6))
        .is_some_and(|word| {
            // SAFETY: one aligned load.
            unsafe { read_volatile(word) >> (port & 63) & 1 != 0 }
        })
}

/// Not inlined, for the need of stack.
#[inline(never)]
fn source_by_route<F: Family>(link: u32, destination: &F::Address) -> Option<&'static F::Address> {
    let key = RouteSourceKey {
        link,
        destination: *destination,
    };
    let bits = 8 * size_of::<RouteSourceKey<F::Address>>() as u32;
    F::route_sources().get(&Key::new(bits, key))
}

/// Source of what is translated and leaves by a link for a destination, which stands on the stack.
#[inline(always)]
pub fn source_by<F: Family>(ifindex: u32, destination: &F::Address) -> F::Address {
    let flags = link_flags(ifindex).unwrap_or(0);
    if flags & LINK_SOURCES_BY_ROUTE != 0
        && let Some(source) = source_by_route::<F>(ifindex, destination)
    {
        return *source;
    }
    // A torn read gives a source that answers do not come back to once.
    let source = link(ifindex).map_or(F::UNSPECIFIED, |link| {
        F::of_pair(link.address4, link.address6)
    });
    if same(&source, &F::UNSPECIFIED) {
        own::<F>()
    } else {
        source
    }
}
