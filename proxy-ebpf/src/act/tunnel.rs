//! By the tunnel to another node, and out of it.

use proxy_common::counters::{NO_TUNNEL, NOT_A_PEER, NOT_ENCRYPTED, REWRITE_FAILED, TOO_BIG};
use proxy_common::tunnel::{
    TUNNEL_CLOSED, TUNNEL_ENCRYPTED, TUNNEL_MAC, TUNNEL_NODE, TUNNEL_SEND, TUNNEL_SENDER_MAC,
    TunnelPeer,
};

use super::course::Course;
use super::host::ethernet;
use super::length::longest;
use crate::know::next_hop::NextHop;
use crate::know::{endpoint, node, tunnel};
use crate::machine::frame::{ETHERNET, Frame as _};
use crate::machine::global::global;
use crate::machine::skb::{Skb, Skb as Buffer, redirect};
use crate::machine::verdict::{CONTINUE, NEXT, SHOT};
use crate::machine::words::to_stack;
use crate::maps::Family;
use crate::packet::description::Packet;

/// Hardware addresses of every frame in the tunnel.
pub(super) const ENDS: [[u8; 6]; 2] = [TUNNEL_MAC, TUNNEL_SENDER_MAC];

/// Sends a frame to the node to which its way leads. The device that encrypts takes packets without an Ethernet header, which the
/// kernel takes off, and finds the node by the address.
#[inline(always)]
pub fn send<F: Family, const OWN: bool>(skb: Skb<OWN>, hop: &NextHop) -> Verdict {
    if hop.tunnel & TUNNEL_ENCRYPTED != 0 {
        return redirect(hop.ifindex, 0);
    }
    let (over_ipv6, may_cut) = (
        tunnel::over_ipv6(hop.tunnel),
        tunnel::may_cut::<F>(hop.tunnel),
    );
    if skb.put(0, &ENDS) && skb.enter_tunnel(&raw const hop.key, over_ipv6, may_cut) {
        redirect(hop.ifindex, 0)
    } else {
        dropped(REWRITE_FAILED)
    }
}

global! {
    /// Says of a frame that the stack sends by the device of the tunnel where it goes. `CONTINUE`: it may leave.
    pub fn enter(skb) = lead
}

#[inline(always)]
fn lead<F: Family>(skb: Buffer) -> Verdict {
    let at = ETHERNET + if F::IPV6 { 24 } else { 16 };
    let Some(destination) = skb.load::<F::Address>(at) else {
        return dropped(NO_TUNNEL);
    };
    if is_multicast::<F>(&destination) {
        // What every device says to its link.
        return SHOT;
    }
    let Some(peer) = tunnel::peer::<F>(&destination) else {
        return dropped(NO_TUNNEL);
    };
    say::<F>(skb, peer)
}

/// `224.0.0.0/4` and above, `ff00::/8`.
#[inline(always)]
fn is_multicast<F: Family>(address: &F::Address) -> bool {
    let words = F::as_ipv6(*address);
    if F::IPV6 {
        words[0].to_ne_bytes()[0] == 0xff
    } else {
        words[3].to_ne_bytes()[0] >= 224
    }
}

/// Says of a frame to which peer it goes. `CONTINUE`: it may leave.
#[inline(always)]
fn say<F: Family>(skb: Buffer, peer: &TunnelPeer) -> Verdict {
    let (Some(config), Some(key)) = (node::config(), tunnel::TUNNEL_KEY.get_ptr_mut(0)) else {
        return dropped(NO_TUNNEL);
    };
    // SAFETY: the map's own memory; each CPU has its own.
    let key = unsafe { &mut *key };
    tunnel::fill(key, peer, config);
    let (over_ipv6, may_cut) = (
        tunnel::over_ipv6(peer.flags),
        tunnel::may_cut::<F>(peer.flags),
    );
    if skb.store(0, &ENDS) && skb.enter_tunnel(key, over_ipv6, may_cut) {
        CONTINUE
    } else {
        dropped(REWRITE_FAILED)
    }
}

global! {
    /// Sends what the stack has routed to another node by a link, and a pod has sent, by the tunnel if that is the way.
    /// `NEXT`: it is not. `TOO_BIG` with `course.mtu`: there is no room.
    pub fn divert(skb, packet: Packet, course: Course) = aside
}

#[inline(always)]
fn aside<F: Family>(skb: Buffer, packet: &mut Packet<F>, course: &mut Course<F>) -> Verdict {
    let Some(config) = node::config() else {
        return NEXT;
    };
    let Some(peer) = tunnel::peer::<F>(&to_stack(&packet.destination)) else {
        return NEXT;
    };
    let is_way = peer.flags & TUNNEL_NODE != 0 && peer.flags & TUNNEL_SEND != 0;
    if !is_way || endpoint::of_address::<F>(&to_stack(&packet.source)) == 0 {
        return NEXT;
    }
    if peer.flags & TUNNEL_CLOSED != 0 {
        return dropped(NOT_ENCRYPTED);
    }
    let Some((device, mtu)) = tunnel::device::<F>(peer, config) else {
        return dropped(NO_TUNNEL);
    };
    if longest(skb, packet) > mtu {
        course.mtu = mtu;
        return dropped(TOO_BIG);
    }
    if peer.flags & TUNNEL_ENCRYPTED != 0 {
        skb.set_done();
        return redirect(device, 0);
    }
    if !ethernet(skb, packet) {
        return dropped(REWRITE_FAILED);
    }
    match say::<F>(skb, peer) {
        CONTINUE => {
            skb.set_done();
            redirect(device, 0)
        }
        verdict => verdict,
    }
}

global! {
    /// Whether a frame that came by the tunnel is from the node that has its sender's address (`CONTINUE`).
    pub fn admit(skb) = check
}

#[inline(always)]
fn check<F: Family>(skb: Buffer) -> Verdict {
    let at = ETHERNET + if F::IPV6 { 8 } else { 12 };
    let Some(source) = skb.load::<F::Address>(at) else {
        return dropped(NOT_A_PEER);
    };
    let Some(peer) = tunnel::peer::<F>(&source) else {
        return dropped(NOT_A_PEER);
    };
    let Some(key) = tunnel::TUNNEL_KEY.get_ptr_mut(0) else {
        return dropped(NOT_A_PEER);
    };
    // SAFETY: the map's own memory; each CPU has its own.
    let key = unsafe { &mut *key };
    if skb.tunnel(key, tunnel::over_ipv6(peer.flags)) && tunnel::is_from(key, peer) {
        CONTINUE
    } else {
        dropped(NOT_A_PEER)
    }
}

use crate::machine::verdict::{Verdict, dropped};
