//! Anti-spoofing: a pod sends from its own addresses only. Neighbour discovery is let through to the stack.

use proxy_common::counters::SPOOFED_SOURCE;
use proxy_common::endpoints::Endpoint;

use super::node;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::machine::words::same;
use crate::maps::{Family, V4, V6};
use crate::packet::description::Packet;

/// What a pod sends: `CONTINUE` if the source is its own, `NEXT` if only the host's stack may have the packet.
#[inline(always)]
pub fn check<F: Family>(endpoint: &Endpoint, packet: &mut Packet<F>) -> Verdict {
    if let Some(packet) = packet.v4() {
        return v4(endpoint, packet);
    }
    match packet.v6() {
        Some(packet) => v6(endpoint, packet),
        None => dropped(SPOOFED_SOURCE),
    }
}

/// Whether what comes by a link from outside says that it comes from this node, from one of its pods, or from nowhere.
#[inline(always)]
pub fn is_forged<F: Family>(source: &F::Address) -> bool {
    F::is_loopback(*source)
        || super::endpoint::of_address::<F>(source) != 0
        || node::any_address::<F>(source) != 0
}

/// Whether the packet that an ICMP error quotes was for its sender. A pod is no router: what it says of other packets the host would
/// believe, and take a way to another node for a narrow one.
#[inline(always)]
pub fn has_got_it<F: Family>(packet: &Packet<F>) -> bool {
    same(&packet.tuple.source, &packet.source)
}

/// IPv4.
#[inline(always)]
fn v4(endpoint: &Endpoint, packet: &Packet<V4>) -> Verdict {
    if packet.source == endpoint.address4 && packet.source != 0 {
        CONTINUE
    } else {
        dropped(SPOOFED_SOURCE)
    }
}

/// Whether a packet of a pod is a neighbour's word to its gateway.
#[inline(always)]
pub fn stays_here(packet: &Packet<V6>) -> bool {
    is_neighbour(packet) && stays(packet.destination)
}

/// IPv6. A pod has no routers' advertisements to make (type 134).
#[inline(always)]
fn v6(endpoint: &Endpoint, packet: &Packet<V6>) -> Verdict {
    let unspecified = same(&packet.source, &V6::UNSPECIFIED);
    let own = same(&packet.source, &endpoint.address6) && !unspecified;
    if stays_here(packet) {
        let kind = packet.icmp >> 8;
        return if kind != 134 && (own || unspecified || is_link_local(packet.source)) {
            NEXT
        } else {
            dropped(SPOOFED_SOURCE)
        };
    }
    if own {
        CONTINUE
    } else {
        dropped(SPOOFED_SOURCE)
    }
}

/// Neighbour discovery (133-136, RFC 4861) or a report of multicast listeners (130-132, 143, RFC 2710, 3810) that no
/// router has forwarded. All else of these types is traffic that policy judges.
#[inline(always)]
pub fn is_neighbour(packet: &Packet<V6>) -> bool {
    if packet.carrier != V6::ICMP {
        return false;
    }
    match packet.icmp >> 8 {
        133..=136 => packet.hops == 255,
        130..=132 | 143 => {
            let source = packet.source;
            packet.hops == 1 && (is_link_local(source) || same(&source, &V6::UNSPECIFIED))
        }
        _ => false,
    }
}

/// Whether the node forwards nothing to this address: multicast, link-local (RFC 4291), and its own, but for such of large ranges:
/// no gateway has one.
#[inline(always)]
fn stays(destination: [u32; 4]) -> bool {
    destination[0].to_ne_bytes()[0] == 0xff
        || is_link_local(destination)
        || node::address::<V6>(&destination) != 0
}

/// `fe80::/10`.
#[inline(always)]
const fn is_link_local(address: [u32; 4]) -> bool {
    let [a, b, _, _] = address[0].to_ne_bytes();
    a == 0xfe && b & 0xc0 == 0x80
}
