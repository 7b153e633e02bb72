//! Which packets go to another node by the tunnel, and to which.

use aya_ebpf::btf_maps::{PerCpuArray, lpm_trie::Key};
use aya_ebpf::macros::btf_map;
use proxy_common::address::{Address6, is_mapped};
use proxy_common::node::NodeConfig;
use proxy_common::tunnel::{
    LEAST_ROOM6, TUNNEL_ENCRYPTED, TUNNEL_NODE, TUNNEL_OVER_IPV6, TUNNEL_ROOM_SHIFT, TUNNEL_SEND,
    TunnelPeer,
};

use super::{endpoint, node};
use crate::machine::tunnel::TunnelKey;
use crate::machine::words::{copy, same};
use crate::maps::Family;

/// A key in hand. Private to one load of the programs.
#[btf_map]
pub static TUNNEL_KEY: PerCpuArray<TunnelKey, 1> = PerCpuArray::new();

/// Time to live of what is put around packets.
const HOPS: u8 = 64;

/// The node that has an address, which stands on the stack.
#[inline(always)]
pub fn peer<F: Family>(address: &F::Address) -> Option<&'static TunnelPeer> {
    let bits = 8 * size_of::<F::Address>() as u32;
    F::tunnels().get(&Key::new(bits, *address))
}

/// The node to which a packet goes by the tunnel. Between addresses of nodes none does, only what a pod sends there: the way of
/// a flow follows from its two ends and their nodes, the same for both directions. `room` is memory of a map, for the stack is
/// full.
#[inline(always)]
pub fn leads<F: Family>(
    source: &F::Address,
    destination: &F::Address,
    room: &mut [u32; 5],
) -> Option<&'static TunnelPeer> {
    room[0] = 8 * size_of::<F::Address>() as u32;
    let address: *mut F::Address = (&raw mut room[1]).cast();
    // SAFETY: four words behind the first, of which the address takes one or all; a key is a length and an address.
    let peer = unsafe {
        copy(&raw const *destination, address);
        F::tunnels().get(&*(&raw const *room).cast::<Key<F::Address>>())
    }?;
    if peer.flags & TUNNEL_SEND == 0 {
        return None;
    }
    if peer.flags & TUNNEL_NODE != 0 {
        // SAFETY: as above.
        let source = unsafe {
            copy(&raw const *source, address);
            &*address
        };
        if endpoint::of_address::<F>(source) == 0 {
            return None;
        }
    }
    Some(peer)
}

/// The device by which a peer is reached, and the room that the way has; none if there is none.
#[inline(always)]
pub fn device<F: Family>(peer: &TunnelPeer, config: &NodeConfig) -> Option<(u32, u32)> {
    let (device, mtu) = if peer.flags & TUNNEL_ENCRYPTED == 0 {
        (
            config.tunnel_device,
            room::<F>(peer.flags, config.tunnel_mtu),
        )
    } else {
        (peer.address[0], peer.address[1])
    };
    (device != 0).then_some((device, mtu))
}

/// The room of a way by the tunnel to a node with these flags, by a device with this MTU.
#[inline(always)]
pub const fn room<F: Family>(flags: u32, mtu: u32) -> u32 {
    let told = flags >> TUNNEL_ROOM_SHIFT;
    let least = if F::IPV6 && told < LEAST_ROOM6 {
        LEAST_ROOM6
    } else {
        told
    };
    if told == 0 || least > mtu { mtu } else { least }
}

/// Whether what is put around a packet of a family may be cut: the way has no room for the shortest packet of which nobody may be told
/// that it is too long.
#[inline(always)]
pub const fn may_cut<F: Family>(flags: u32) -> bool {
    let told = flags >> TUNNEL_ROOM_SHIFT;
    F::IPV6 && told != 0 && told < LEAST_ROOM6
}

/// Whether the tunnel to a node goes over IPv6.
#[inline(always)]
pub const fn over_ipv6(flags: u32) -> bool {
    flags & TUNNEL_OVER_IPV6 != 0
}

/// Writes the address of a peer as keys have it.
#[inline(always)]
fn remote(peer: &TunnelPeer, to: &mut [u32; 4]) {
    if over_ipv6(peer.flags) {
        // SAFETY: two values made of words.
        unsafe { copy(&raw const peer.address, &raw mut *to) };
    } else {
        *to = [u32::from_be(peer.address[3]), 0, 0, 0];
    }
}

/// Says where a packet to a peer goes.
#[inline(always)]
pub fn fill(key: &mut TunnelKey, peer: &TunnelPeer, config: &NodeConfig) {
    let over_ipv6 = over_ipv6(peer.flags);
    key.network = config.tunnel_vni;
    key.life = [0, HOPS, 0, 0];
    key.label = 0;
    remote(peer, &mut key.remote);
    if over_ipv6 {
        // SAFETY: two values made of words.
        unsafe { copy(&raw const config.address6, &raw mut key.local) };
    } else {
        key.local = [u32::from_be(config.address4), 0, 0, 0];
    }
}

/// As [`fill`], for a node that ends the tunnel at an address, IPv4 mapped to IPv6. Says whether the tunnel goes over IPv6.
#[inline(always)]
pub fn fill_for(key: &mut TunnelKey, end: &Address6, config: &NodeConfig) -> bool {
    let over_ipv6 = !is_mapped(end);
    let peer = TunnelPeer {
        address: *end,
        flags: if over_ipv6 { TUNNEL_OVER_IPV6 } else { 0 },
    };
    fill(key, &peer, config);
    over_ipv6
}

/// Whether a packet with this key came from a peer.
#[inline(always)]
pub fn is_from(key: &TunnelKey, peer: &TunnelPeer) -> bool {
    let of_network = node::config().is_some_and(|config| config.tunnel_vni == key.network);
    let by_address = if over_ipv6(peer.flags) {
        same(&key.remote, &peer.address)
    } else {
        key.remote[0] == u32::from_be(peer.address[3])
    };
    of_network && by_address
}
