//! Through the node without its stack: a frame that came by a link, turned, and sent out by it or another one.

use proxy_common::address::SCTP;
use proxy_common::counters::{NO_ROUTE, REWRITE_FAILED, XDP_ACROSS, XDP_BACK};
use proxy_common::node::LINK_TAKES_FRAMES;

use super::course::Course;
use super::refuse::count;
use crate::know::next_hop::{self, Between, NextHop};
use crate::know::node;
use crate::machine::frame::{Buffer as _, Frame as _};
use crate::machine::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::machine::words::same;
use crate::machine::xdp::{BACK, Xdp, redirect};
use crate::maps::Family;
use crate::packet::age::age;
use crate::packet::description::Packet;
use crate::packet::rewrite::{rewrite_association, rewrite_plain};

/// A hardware address.
type Mac = [u16; 3];

/// Whether a frame is for the link on which it came.
#[inline(always)]
pub fn is_for_link(xdp: Xdp) -> bool {
    node::link(xdp.ifindex()).is_some_and(|link| is_to(xdp, halves(link.mac)))
}

#[inline(always)]
const fn halves(mac: [u8; 6]) -> Mac {
    [
        u16::from_ne_bytes([mac[0], mac[1]]),
        u16::from_ne_bytes([mac[2], mac[3]]),
        u16::from_ne_bytes([mac[4], mac[5]]),
    ]
}

#[inline(always)]
fn is_to(xdp: Xdp, mac: Mac) -> bool {
    xdp.read::<Mac>(0) == Some(mac)
}

/// Finds the next hop of a plain packet that leaves the node, into `course.hop`. `NEXT`: it is for tc to send.
#[inline(always)]
pub fn find_way<F: Family>(xdp: Xdp, packet: &Packet<F>, course: &mut Course<F>) -> Verdict {
    let between = Between {
        source: course.target.source,
        destination: course.target.destination,
        protocol: packet.protocol,
        now: packet.now,
        bare: false,
        own: false,
    };
    let Some((hop, number)) = next_hop::find::<_, F>(xdp, &between) else {
        return NEXT;
    };
    if !takes(xdp, hop, number, packet.length) {
        return NEXT;
    }
    course.hop = number;
    CONTINUE
}

/// Whether a frame may go by a way as a packet of this length; no packet that the kernel must send.
#[inline(always)]
pub(super) fn takes(xdp: Xdp, hop: &NextHop, number: u32, length: u32) -> bool {
    if hop.tunnel != 0 || hop.resolved == 0 || length > hop.mtu {
        return false;
    }
    let back = hop.ifindex == xdp.ifindex();
    let may = if back {
        is_to(xdp, sender(hop))
    } else {
        may_cross(xdp, hop.ifindex)
    };
    may && !next_hop::is_kernels(number)
}

/// Turns a packet of SCTP; `send` turns all others.
#[inline(always)]
pub fn turn_association<F: Family>(
    xdp: Xdp,
    packet: &mut Packet<F>,
    course: &Course<F>,
) -> Verdict {
    if packet.protocol != SCTP || rewrite_association(xdp, packet, &course.target) {
        CONTINUE
    } else {
        dropped(REWRITE_FAILED)
    }
}

/// Turns a plain packet, unless it is turned already, and sends it to its next hop: an action of XDP.
#[inline(always)]
pub fn send<F: Family>(xdp: Xdp, packet: &mut Packet<F>, course: &Course<F>) -> Verdict {
    let Some(hop) = next_hop::get(course.hop) else {
        return dropped(NO_ROUTE);
    };
    let turned = same(&course.target, &packet.tuple) || rewrite_plain(xdp, packet, &course.target);
    if !turned || !age(xdp, packet) || !xdp.put(0, &hop.ends) {
        return dropped(REWRITE_FAILED);
    }
    leave(xdp, hop)
}

/// Sends a frame, which has its hardware addresses, by a way: an action of XDP.
#[inline(always)]
pub(super) fn leave(xdp: Xdp, hop: &NextHop) -> Verdict {
    if hop.ifindex == xdp.ifindex() {
        count(xdp, XDP_BACK);
        return BACK.cast_signed();
    }
    count(xdp, XDP_ACROSS);
    redirect(hop.ifindex).cast_signed()
}

/// The hardware address of the link by which a way leads.
#[inline(always)]
const fn sender(hop: &NextHop) -> Mac {
    let [_, first, last] = hop.ends.words;
    [(first >> 16) as u16, last as u16, (last >> 16) as u16]
}

/// Whether a frame that is for the link on which it came may leave by another one.
#[inline(always)]
fn may_cross(xdp: Xdp, to: u32) -> bool {
    // What is in pieces not every driver sends for another one.
    let takes = node::link_flags(to).is_some_and(|flags| flags & LINK_TAKES_FRAMES != 0);
    takes && xdp.is_linear() && is_for_link(xdp)
}
