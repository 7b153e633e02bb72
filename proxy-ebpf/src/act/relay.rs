//! Relaying (for DSR, and to keep the client's address): what comes from outside for a backend on another node, relayed to that node as it is, by the tunnel. The number of the
//! tunnel's network says so (`NETWORK_RELAYED`). That node turns it, as it would have turned what came to it, and its answers go
//! back to the node by which the client asked, or to the client itself: direct server return.

use core::ptr::{read_volatile, write_volatile};

use proxy_common::conntrack::{FLOW_DIRECT, FLOW_RELAYED, FLOW_STACK, Head};
use proxy_common::counters::{NO_TUNNEL, NOT_A_PEER, REWRITE_FAILED, TOO_BIG};
use proxy_common::tunnel::{NETWORK_DIRECT, NETWORK_RELAYED, Relay};

use super::course::{Course, hook};
use super::host::ethernet;
use super::length::longest;
use super::tunnel::ENDS;
use crate::know::{node, relay, tunnel};
use crate::machine::frame::Frame as _;
use crate::machine::global::global;
use crate::machine::skb::{Skb, Skb as Buffer, redirect};
use crate::machine::tunnel::TunnelKey;
use crate::machine::verdict::{CONTINUE, Verdict, dropped};
use crate::machine::words::same;
use crate::maps::{Family, V4, V6};
use crate::packet::age::age;
use crate::packet::description::Packet;
use crate::track::flow::Found;
use crate::track::relay as entries;

/// Both bits of the network's number.
const BITS: u32 = NETWORK_RELAYED | NETWORK_DIRECT;

/// Whether a packet on its course is relayed.
#[inline(always)]
pub const fn is_relayed<F: Family>(course: &Course<F>) -> bool {
    course.flags & FLOW_RELAYED as u32 != 0
}

/// Says of a packet of a flow that is relayed, or came so, whether it is relayed from here, and to whom.
#[inline(always)]
pub fn follow<F: Family>(course: &mut Course<F>, found: &Found<F>, at: u32) {
    let forth = found.place.direction() == 0;
    if !forth && found.head.flags & FLOW_RELAYED == 0 {
        // What a pod or the node began, and somebody has relayed an answer to.
        return;
    }
    let [sender, receiver] = found.ends();
    if sender | receiver == 0 {
        if forth {
            course.relay = words(found);
        } else {
            course.stays();
        }
        return;
    }
    if forth {
        if hook::is_from_others(at) {
            let entry = if at == hook::RELAYED { course.entry } else { 0 };
            came_by(found, entry);
        }
        course.stays();
        return;
    }
    // The stack knows no way back.
    course.flags &= !u32::from(FLOW_STACK);
    let [_, _, entry, _] = words(found);
    match entries::of_number(entry) {
        _ if entry == 0 => {
            course.stays();
            course.flags |= u32::from(found.head.flags & FLOW_STACK);
        }
        Some(relay) => course.relay = *relay,
        None => course.relay = [0; 4],
    }
}

/// Notes by which node the client asks now: its answers go back there.
#[inline(always)]
fn came_by<F: Family>(found: &Found<F>, entry: u32) {
    if found.head.flags & FLOW_RELAYED == 0 {
        found.change(|head| Head {
            flags: head.flags | FLOW_RELAYED,
            ..head
        });
    }
    // SAFETY: a record of the map; one aligned word. Should another flow have the slot by now, which takes that this one was not
    // assured and a race of nanoseconds, one name of a rule is wrong.
    unsafe {
        let known = (&raw mut (*found.record).cookie).cast::<u32>();
        if read_volatile(known) != entry {
            write_volatile(known, entry);
        }
    }
}

/// The four words of a flow that say where it is relayed.
#[inline(always)]
fn words<F: Family>(found: &Found<F>) -> Relay {
    // SAFETY: a record of the map; aligned words.
    unsafe {
        let epoch = (&raw const (*found.record).epoch).cast::<u32>();
        let cookie = (&raw const (*found.record).cookie).cast::<u32>();
        [
            read_volatile(epoch),
            read_volatile(epoch.add(1)),
            read_volatile(cookie),
            read_volatile(cookie.add(1)),
        ]
    }
}

/// Whether a flow goes to the node that its backend is on, if it is relayed.
#[inline(always)]
pub fn leads<F: Family>(found: &Found<F>, backend: u32) -> bool {
    let [sender, receiver] = found.ends();
    if found.head.flags & FLOW_RELAYED == 0 || sender | receiver != 0 {
        return true;
    }
    // SAFETY: read at once; values are replaced whole.
    let Some(backend) = (unsafe { F::backends().get(backend) }) else {
        return false;
    };
    relay::is_on() && relay::to::<F>(&backend.address).is_some_and(|to| same(&to, &words(found)))
}

/// Whether a packet that is relayed may take the tunnel (`CONTINUE`). `TOO_BIG` with `course.mtu`: its sender is to be told.
#[inline(always)]
pub fn has_way<F: Family>(skb: Skb, packet: &Packet<F>, course: &mut Course<F>) -> Verdict {
    let Some(config) = node::config() else {
        return dropped(NO_TUNNEL);
    };
    if config.tunnel_device == 0 || !relay::is_on() || course.relay[3] == 0 {
        return dropped(NO_TUNNEL);
    }
    let room = tunnel::room::<F>(relay::of_end(&course.relay), config.tunnel_mtu);
    if longest(skb, packet) > room {
        course.mtu = room;
        return dropped(TOO_BIG);
    }
    CONTINUE
}

/// Sends a packet, which is turned, to the node in `course.relay`.
#[inline(always)]
pub fn send<F: Family, const OWN: bool>(
    skb: Skb<OWN>,
    packet: &mut Packet<F>,
    course: &Course<F>,
    at: u32,
) -> Verdict {
    if !hook::is_own(at) && !age(skb, packet) || !ethernet(skb, packet) {
        return dropped(REWRITE_FAILED);
    }
    let (Some(config), Some(key)) = (node::config(), tunnel::TUNNEL_KEY.get_ptr_mut(0)) else {
        return dropped(NO_TUNNEL);
    };
    // SAFETY: the map's own memory; each CPU has its own.
    let key = unsafe { &mut *key };
    let over_ipv6 = tunnel::fill_for(key, &course.relay, config);
    key.network ^= if course.flags & u32::from(FLOW_DIRECT) == 0 {
        NETWORK_RELAYED
    } else {
        BITS
    };
    let may_cut = tunnel::may_cut::<F>(relay::of_end(&course.relay));
    if !skb.put(0, &ENDS) || !skb.enter_tunnel(key, over_ipv6, may_cut) {
        return dropped(REWRITE_FAILED);
    }
    skb.set_done();
    redirect(config.tunnel_device, 0)
}

global! {
    /// Whether a frame that came by the tunnel is one that another node relayed (`CONTINUE`): from a client outside of the cluster,
    /// or an answer in a Service's name. Says who it was in `course.entry`.
    pub fn accept(skb, packet: Packet, course: Course) = check
}

#[inline(always)]
fn check<F: Family>(skb: Buffer, packet: &mut Packet<F>, course: &mut Course<F>) -> Verdict {
    let Some(key) = tunnel::TUNNEL_KEY.get_ptr_mut(0) else {
        return dropped(NOT_A_PEER);
    };
    // SAFETY: the map's own memory; each CPU has its own.
    let key = unsafe { &mut *key };
    let Some(from) = sender(skb, key) else {
        return dropped(NOT_A_PEER);
    };
    let network = node::config().map_or(0, |config| config.tunnel_vni) ^ key.network;
    if network & !NETWORK_DIRECT != NETWORK_RELAYED || relay::is_peers::<F>(&packet.source) {
        return dropped(NOT_A_PEER);
    }
    course.entry = 0;
    if network & NETWORK_DIRECT == 0 {
        let Some(entry) = entries::number(&from) else {
            return dropped(NOT_A_PEER);
        };
        course.entry = entry;
    }
    CONTINUE
}

/// The node that sent a frame by the tunnel, IPv4 mapped to IPv6.
#[inline(always)]
fn sender(skb: Buffer, key: &mut TunnelKey) -> Option<Relay> {
    if skb.tunnel(key, false) {
        let address = key.remote[0].to_be();
        return relay::is_end::<V4>(&address).then(|| V4::as_ipv6(address));
    }
    if skb.tunnel(key, true) {
        let address = key.remote;
        return relay::is_end::<V6>(&address).then_some(address);
    }
    None
}
