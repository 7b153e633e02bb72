//! SNAT (source translation): a free port of the node's address, so that the answers come back here; for a backend on the
//! node itself, of an address that is routed to `weir_host`.
//!
//! The ports are those of `NodeConfig`, which sockets of the host may have too: what the host itself sends from one of
//! them is tracked (`hook::to_net`), so that whoever comes second sees the tuple in use.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use proxy_common::address::UDP;
use proxy_common::conntrack::{FLOW_MASQUERADED, FLOW_SOURCE_TRANSLATED, FLOW_STACK};
use proxy_common::counters::{FLOW_CLASH, NO_SOURCE_PORT, TUNNEL_PORT};
use proxy_common::node::LINK_SOURCE_BY_ROUTE;

use super::draft::{Draft, MASQUERADED, TO_HOST};
use crate::know::next_hop::{self, Between};
use crate::know::node;
use crate::machine::frame::Buffer;
use crate::machine::global::global;
use crate::machine::verdict::{CONTINUE, NEXT};
use crate::machine::words::{copy, same};
use crate::maps::Family;
use crate::track::start::{self, Start};

/// Ports that are tried.
const TRIES: u32 = 32;
/// Ports of the address that stands for the host itself: nobody else uses them.
const PEER_PORTS: (u16, u16) = (1024, 65535);
/// The first port that any process may use.
const UNPRIVILEGED: u16 = 1024;

global! {
    /// Says whose name the flow to begin is given, and which ports there are. `NO_SOURCE_PORT`: none.
    fn address(draft: Draft) = choose
}

#[inline(always)]
fn choose<F: Family>(draft: &mut Draft<F>) -> Verdict {
    let start = &mut draft.start;
    let port = start.flow.target[0].destination_port;
    if start.protocol == UDP && port != 0 && port == node::tunnel_port() {
        // In the node's name it would be one of the tunnel's, in which anybody may be the sender.
        return dropped(TUNNEL_PORT);
    }
    start.flags |= FLOW_SOURCE_TRANSLATED;
    let source = &raw mut start.flow.target[0].source;
    if draft.way == TO_HOST {
        (draft.first, draft.last) = PEER_PORTS;
        let peer = F::HOST_PEER;
        // SAFETY: two values made of words.
        unsafe { copy(&raw const peer, source) };
        return CONTINUE;
    }
    let Some(config) = node::config() else {
        return dropped(NO_SOURCE_PORT);
    };
    (draft.first, draft.last) = (config.source_port_min, config.source_port_max);
    if draft.way == MASQUERADED {
        start.flags |= FLOW_MASQUERADED;
        if node::forwards() {
            start.flags &= !FLOW_STACK;
        }
    }
    CONTINUE
}

global! {
    /// Asks for the way of the flow to begin. `own` 0: the link, into `draft.link`. 1: the address of ours that the way by that link
    /// asks for, which is put in the sender's place; `NEXT`: nobody says.
    fn by_route(buffer, draft: Draft; own) = ask_route
}

#[inline(always)]
fn ask_route<B: Buffer, F: Family>(buffer: B, draft: &mut Draft<F>, own: u32) -> Verdict {
    let flow = &mut draft.start.flow.target[0];
    let between = Between {
        // What is masqueraded is routed by the pod's own address.
        source: if draft.way == MASQUERADED {
            flow.source
        } else {
            node::own::<F>()
        },
        destination: flow.destination,
        protocol: draft.start.protocol,
        now: draft.start.now,
        // By the tunnel it goes in the name that is the node's everywhere: routes lead there by a device without one.
        bare: true,
        own: own != 0,
    };
    let Some((hop, _)) = next_hop::find::<B, F>(buffer, &between) else {
        return NEXT;
    };
    if own == 0 {
        draft.link = hop.ifindex;
        return CONTINUE;
    }
    let source = F::from_ipv6(hop.source);
    if hop.ifindex != draft.link || same(&source, &F::UNSPECIFIED) {
        return NEXT;
    }
    // SAFETY: two values made of words.
    unsafe { copy(&raw const source, &raw mut flow.source) };
    CONTINUE
}

global! {
    /// Puts the address of the link by which the flow leaves in the sender's place.
    fn by_link(draft: Draft) = of_link
}

#[inline(always)]
fn of_link<F: Family>(draft: &mut Draft<F>) -> Verdict {
    let address = node::source_by::<F>(draft.link);
    let source = &raw mut draft.start.flow.target[0].source;
    // SAFETY: two values made of words.
    unsafe { copy(&raw const address, source) };
    CONTINUE
}

/// Whether the flow to begin has an address and ports of ours (`CONTINUE`).
#[inline(always)]
fn name<F: Family>(draft: &Draft<F>) -> Verdict {
    let source = &draft.start.flow.target[0].source;
    if draft.last < draft.first || same(source, &F::UNSPECIFIED) {
        return dropped(NO_SOURCE_PORT);
    }
    CONTINUE
}

/// Gives the flow to begin a source port, network order; an echo has one identifier for both ends.
#[inline(always)]
pub fn take<F: Family>(start: &mut Start<F>, port: u16) {
    let to = &mut start.flow.target[0];
    to.source_port = port;
    if start.protocol == F::ICMP {
        to.destination_port = port;
    }
}

/// Begins the flow with a source of ours. `NO_SOURCE_PORT`: all that were tried are in use.
#[inline(always)]
pub fn allocate<B: Buffer, F: Family>(buffer: B, draft: &mut Draft<F>) -> Verdict {
    let mut verdict = address(draft);
    if verdict == CONTINUE && draft.way != TO_HOST {
        verdict = of_ours(buffer, draft);
    }
    if verdict != CONTINUE {
        return verdict;
    }
    draw(draft)
}

/// Puts an address of ours in the sender's place.
#[inline(always)]
fn of_ours<B: Buffer, F: Family>(buffer: B, draft: &mut Draft<F>) -> Verdict {
    if draft.way != MASQUERADED {
        // Without a way the packet is answered when it is to leave.
        draft.link = 0;
        by_route::<B, F>(buffer, draft, 0);
    }
    let flags = node::link_flags(draft.link).unwrap_or(0);
    if flags & LINK_SOURCE_BY_ROUTE == 0 || by_route::<B, F>(buffer, draft, 1) != CONTINUE {
        by_link(draft);
    }
    name(draft)
}

global! {
    /// Tries ports from `draft.first` to `draft.last`.
    fn draw(draft: Draft) = try_ports
}

#[inline(always)]
fn try_ports<F: Family>(draft: &mut Draft<F>) -> Verdict {
    let first = u32::from(draft.first);
    let range = u32::from(draft.last).wrapping_sub(first) + 1;
    // The client's own port first, scaled into the range: the same client keeps its port.
    let mut number = u32::from(u16::from_be(draft.start.flow.target[1].destination_port));
    for _ in 0..TRIES {
        let port = first + number.checked_rem(range).unwrap_or(0);
        take(&mut draft.start, (port as u16).to_be());
        let verdict = start::commit(&mut draft.start);
        if verdict != dropped(FLOW_CLASH) {
            return verdict;
        }
        // SAFETY: a helper without arguments.
        number = unsafe { bpf_get_prandom_u32() };
    }
    dropped(NO_SOURCE_PORT)
}

/// Any port for a flow of the host's own, network order: by it the answer is known to be one. 0 if there is none.
#[inline(always)]
pub fn of_node() -> u16 {
    let Some(config) = node::config() else {
        return 0;
    };
    let first = u32::from(config.source_port_min);
    let range = u32::from(config.source_port_max).wrapping_sub(first) + 1;
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    let port = first + random.checked_rem(range & 0xffff).unwrap_or(0);
    (port as u16).to_be()
}

/// Any port that needs no privilege, network order.
#[inline(always)]
pub fn any() -> u16 {
    // SAFETY: a helper without arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    (UNPRIVILEGED + random as u16 % (u16::MAX - UNPRIVILEGED)).to_be()
}

use crate::machine::verdict::{Verdict, dropped};
