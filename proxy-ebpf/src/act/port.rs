//! SNAT (source translation): a free port of the node's address, so that the answers come back here; for a backend on the
//! node itself, of an address that is routed to `weir_host`.
//!
//! The ports are those of `NodeConfig`, which sockets of the host may have too: what the host itself sends from one of
//! them is tracked (`hook::to_net`), so that whoever comes second sees the tuple in use.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use proxy_common::address::UDP;
use proxy_common::conntrack::{FLOW_MASQUERADED, FLOW_SOURCE_TRANSLATED, FLOW_STACK};
use proxy_common::counters::{FLOW_CLASH, NO_SOURCE_PORT, TUNNEL_PORT};

use super::draft::{Draft, MASQUERADED, TO_HOST};
use crate::know::next_hop::{self, Between};
use crate::know::node;
use crate::machine::frame::Buffer;
use crate::machine::global::global;
use crate::machine::verdict::CONTINUE;
use crate::machine::words::{copy, same, to_stack};
use crate::maps::Family;
use crate::track::start::{self, Start};

/// Ports that are tried.
const TRIES: u32 = 32;
/// Ports of the address that stands for the host itself: nobody else uses them.
const PEER_PORTS: (u16, u16) = (1024, 65535);
/// The first port that any process may use.
const UNPRIVILEGED: u16 = 1024;

global! {
    /// Gives the flow to begin a source address of ours, and says which ports there are. `NO_SOURCE_PORT`: none.
    fn address(buffer, draft: Draft) = choose
}

#[inline(always)]
fn choose<B: Buffer, F: Family>(buffer: B, draft: &mut Draft<F>) -> Verdict {
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
        let to = to_stack(&start.flow.target[0].destination);
        let source = node::source_by::<F>(draft.link, &to);
        return name(draft, source);
    }
    let own = node::own::<F>();
    let between = Between {
        source: own,
        destination: start.flow.target[0].destination,
        protocol: start.protocol,
        now: start.now,
        // By the tunnel it goes in the name that is the node's everywhere: routes lead there by a device without one.
        bare: true,
    };
    // Without a way the packet is answered when it is to leave.
    let address = match next_hop::find::<B, F>(buffer, &between) {
        Some((hop, _)) => {
            node::source_by::<F>(hop.ifindex, &to_stack(&start.flow.target[0].destination))
        }
        None => own,
    };
    name(draft, address)
}

/// Puts an address of the node in the sender's place.
#[inline(always)]
fn name<F: Family>(draft: &mut Draft<F>, address: F::Address) -> Verdict {
    if draft.last < draft.first || same(&address, &F::UNSPECIFIED) {
        return dropped(NO_SOURCE_PORT);
    }
    let source = &raw mut draft.start.flow.target[0].source;
    // SAFETY: two values made of words.
    unsafe { copy(&raw const address, source) };
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
    let verdict = address(buffer, draft);
    if verdict != CONTINUE {
        return verdict;
    }
    draw(draft)
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
