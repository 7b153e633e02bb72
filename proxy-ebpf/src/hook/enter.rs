//! What every program at an interface begins with.

use proxy_common::counters::{INVALID_PACKET, SETTLING};
use proxy_common::told::Told;

use crate::act::begin::{begin, wait};
use crate::act::course::Course;
use crate::act::course::hook::TO_POD;
use crate::act::draft::Draft;
use crate::act::follow::{STALE, follow, follow_turned};
use crate::act::relay;
use crate::act::review::review;
use crate::know::{endpoint, node};
use crate::machine::frame::{Buffer, ETH_IP, ETH_IPV6};
use crate::machine::scratch;
use crate::machine::skb::Skb;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::maps::Family;
use crate::packet::answer::Speaker;
use crate::packet::description::{FIRST_FRAGMENT, Packet};
use crate::packet::hold::release;
use crate::packet::parse::{UNUSUAL, parse, parse_unusual};

/// What a program has in hand.
#[repr(C)]
pub(super) struct Work<F: Family> {
    /// The packet.
    pub(super) packet: Packet<F>,
    /// Where it goes.
    pub(super) course: Course<F>,
    /// What beginning its flow needs.
    draft: Draft<F>,
    /// In whose name its sender is told.
    pub(super) speaker: Speaker<F>,
    /// Where the host's stack has it from, for want of stack: the hook (`course::hook`), and the pod that sent it, or 0.
    pub(super) from: [u32; 2],
    /// At XDP's hook: what is told of the packet, if it is.
    pub(super) told: Told,
}

/// One of the two, by the packet's family; else what `other` says of its Ethernet type.
#[inline(always)]
pub(super) fn by_family(
    skb: Skb,
    v4: impl FnOnce(Skb) -> Verdict,
    v6: impl FnOnce(Skb) -> Verdict,
    other: impl FnOnce(u16) -> Verdict,
) -> Verdict {
    match skb.protocol() {
        ETH_IP => v4(skb),
        ETH_IPV6 => v6(skb),
        kind => other(kind),
    }
}

/// Describes the packet in hand, whose link header has this length; else what becomes of it. Fragments of different
/// `scope`s are not of one datagram.
#[inline(always)]
pub(super) fn describe<F: Family>(
    skb: Skb,
    link: u32,
    scope: u32,
) -> Result<&'static mut Work<F>, Verdict> {
    let Some(work) = scratch::room::<Work<F>>() else {
        return Err(dropped(INVALID_PACKET));
    };
    let mut verdict = parse(skb, &mut work.packet, link, scope);
    if verdict == UNUSUAL {
        verdict = parse_unusual(skb, &mut work.packet);
    }
    match verdict {
        CONTINUE => Ok(work),
        verdict => Err(verdict),
    }
}

impl<F: Family> Work<F> {
    /// Follows the flow of the packet at a hook (`course::hook`). `NEXT`: there is none, or it is over.
    #[inline(always)]
    pub(super) fn follow(&mut self, skb: Skb, at: u32) -> Verdict {
        let mut verdict = follow(skb, &mut self.packet, &mut self.course, at, 0);
        if verdict == STALE {
            verdict = review(&mut self.packet, at, 0);
            if verdict == CONTINUE {
                verdict = follow(skb, &mut self.packet, &mut self.course, at, 1);
            }
        }
        verdict
    }

    /// As [`Self::follow`], of a packet that is turned already, into a pod.
    #[inline(always)]
    pub(super) fn follow_turned(&mut self, skb: Skb) -> Verdict {
        let mut verdict = follow_turned(skb, &mut self.packet, &mut self.course, 0);
        if verdict == STALE {
            verdict = review(&mut self.packet, TO_POD, 1);
            if verdict == CONTINUE {
                verdict = follow_turned(skb, &mut self.packet, &mut self.course, 1);
            }
        }
        verdict
    }

    /// Whether the packet was relayed by another node (`CONTINUE`): its flow may begin here.
    #[inline(always)]
    pub(super) fn come_by_relay(&mut self, skb: Skb) -> Verdict {
        let verdict = relay::accept(skb, &mut self.packet, &mut self.course);
        self.draft.entry = self.course.entry;
        verdict
    }

    /// Lets go of later fragments that came before the packet in hand, if that is the first of its datagram and is not
    /// dropped. Gives the verdict on it.
    #[inline(always)]
    pub(super) fn let_go(&mut self, skb: Skb, verdict: Verdict) -> Verdict {
        if self.packet.shape != FIRST_FRAGMENT || verdict != CONTINUE && verdict != NEXT {
            return verdict;
        }
        // What the stack has, has its other fragments too.
        let copies = u32::from(verdict == CONTINUE);
        match release(skb, &mut self.packet, copies) {
            CONTINUE => verdict,
            failed => failed,
        }
    }

    /// Where a segment leads that belongs to no flow and opens none: on, unless its flow may not be in these maps yet
    /// (`node::settles`). The host's own sockets wait for nothing.
    #[inline(always)]
    pub(super) fn stray(&self) -> Verdict {
        let ports = &self.packet.tuple;
        let waits = node::settles(self.packet.now)
            && (node::port_matters(ports.destination_port) || node::port_serves(ports.source_port));
        if waits { dropped(SETTLING) } else { NEXT }
    }

    /// Begins a flow at a hook, sent by an endpoint. `NEXT`: it is nothing of ours.
    #[inline(always)]
    pub(super) fn begin(&mut self, skb: Skb, at: u32, sender: u32) -> Verdict {
        if node::settles(self.packet.now) {
            let verdict = wait(&mut self.packet, at, sender);
            if verdict != CONTINUE {
                return verdict;
            }
        }
        self.begin_now(skb, at, sender)
    }

    /// At `hook::TO_POD`, after [`Self::begin`]: what is known of the receiver.
    #[inline(always)]
    pub(super) fn know_receiver(&mut self) {
        let receiver = u32::from(self.draft.start.flow.endpoint[1]);
        self.course.receives = endpoint::get(receiver).map_or(0, |pod| pod.flags);
    }

    /// As [`Self::begin`], where flows may begin ([`node::settles`]).
    #[inline(always)]
    pub(super) fn begin_now(&mut self, buffer: impl Buffer, at: u32, sender: u32) -> Verdict {
        let verdict = begin(buffer, &mut self.packet, &mut self.draft, at, sender);
        if verdict == CONTINUE {
            self.course.begins(&self.draft.start);
        }
        verdict
    }
}
