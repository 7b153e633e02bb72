//! `NetworkPolicy`: one word per endpoint, then class, cell and interval list (`proxy_common::policy`).

use core::ptr::read_volatile;

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::conntrack::{FLOW_FROM_REMOTE, FLOW_HAIRPIN, FLOW_REWRITE_FROM_LOCAL};
use proxy_common::counters::{NO_POLICY, POLICY_CORRUPT, POLICY_EGRESS, POLICY_INGRESS};
use proxy_common::node::NODE_ALLOW_EGRESS_TO_NODE;
use proxy_common::policy::cells::{ALLOW_ALL, Cell, DENY_ALL, LIST, ROW_STRIDE};
use proxy_common::policy::intervals::{BLOCK_INTERVALS, CHAIN_LIMIT, VERDICT_ALLOW};
use proxy_common::policy::peers::Peer;
use proxy_common::policy::words::{PolicyWord, ROW_ALLOW_ALL, ROW_DENY_ALL};

use super::flow::Found;
use super::node::config;
use super::packet::Packet;
use super::parse::IcmpTypes;
use super::verdict::{CONTINUE, Verdict, dropped};
use super::wire::Wire;
use crate::maps::{Family, INTERVALS, POLICY_CELLS, POLICY_WORDS};

/// A question to policy, and what it answers besides the verdict.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Question<F: Family> {
    /// Address of the peer.
    pub address: F::Address,
    /// The row that judges.
    pub row: u32,
    /// Which generation of classes.
    pub side: u32,
    /// Port, or ICMP type and code, host order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 1 for egress: names the drop reason.
    pub egress: u8,
    /// Answer: the rule that decided.
    pub cookie: u32,
    /// Answer: `PEER_*` bits of the peer.
    pub peer: u32,
}

/// The endpoint's policy in force.
#[inline(always)]
pub fn word(endpoint: u32) -> PolicyWord {
    // An id outside the map has row 0, which denies all.
    let word = POLICY_WORDS
        .get_ptr(endpoint)
        // SAFETY: one aligned load, as the agent's one aligned store.
        .map_or(0, |word| unsafe { read_volatile(word) });
    PolicyWord::unpack(word)
}

/// Asks whether a pod may send to a peer.
#[inline(always)]
pub fn egress<F: Family>(
    word: &PolicyWord,
    address: F::Address,
    protocol: u8,
    port: u16,
) -> Question<F> {
    Question {
        address,
        row: word.egress_row,
        side: word.side,
        port,
        protocol,
        egress: 1,
        cookie: 0,
        peer: 0,
    }
}

/// Asks whether a peer may send to a pod.
#[inline(always)]
pub fn ingress<F: Family>(
    word: &PolicyWord,
    address: F::Address,
    protocol: u8,
    port: u16,
) -> Question<F> {
    Question {
        row: word.ingress_row,
        egress: 0,
        ..egress(word, address, protocol, port)
    }
}

/// `CONTINUE`, or the reason of the denial.
#[inline(always)]
pub fn judge<F: Family>(question: &mut Question<F>) -> Verdict {
    let peer = F::peer(question.side, question.address)
        .or_else(|| F::cidr(question.side, question.address));
    question.peer = peer.map_or(0, |peer| peer.flags);
    if question.row == ROW_ALLOW_ALL {
        return CONTINUE;
    }
    if question.egress != 0
        && config().flags & NODE_ALLOW_EGRESS_TO_NODE != 0
        && F::node_address(question.address) != 0
    {
        return CONTINUE;
    }
    if question.row == ROW_DENY_ALL {
        return dropped(NO_POLICY);
    }
    let Some(Peer { class, .. }) = peer else {
        return dropped(POLICY_CORRUPT);
    };
    let first = question.row.wrapping_mul(ROW_STRIDE);
    let (Some(header), Some(cell)) = (cell(first), cell(first.wrapping_add(1).wrapping_add(class)))
    else {
        return dropped(POLICY_CORRUPT);
    };
    if class >= header as u32 {
        return dropped(POLICY_CORRUPT);
    }
    let cell = Cell::unpack(cell);
    question.cookie = cell.cookie;
    match cell.kind {
        ALLOW_ALL => CONTINUE,
        DENY_ALL => denied(question),
        LIST => in_list(question, cell.list),
        _ => dropped(POLICY_CORRUPT),
    }
}

#[inline(always)]
fn cell(index: u32) -> Option<u64> {
    let cell = POLICY_CELLS.get_ptr(index)?;
    // SAFETY: one aligned load, as the agent's one aligned store.
    Some(unsafe { read_volatile(cell) })
}

/// Searches the chain of blocks. Intervals are disjoint: the first that holds the port decides.
#[inline(always)]
fn in_list<F: Family>(question: &mut Question<F>, list: u32) -> Verdict {
    let Some(first) = INTERVALS.get(list) else {
        return dropped(POLICY_CORRUPT);
    };
    let mut verdict = first.default_verdict;
    let mut cookie = first.default_cookie;
    if has_ports(question.protocol) || question.protocol == F::ICMP {
        let mut block = first;
        'chain: for _ in 0..CHAIN_LIMIT {
            let count = block.count;
            for index in 0..BLOCK_INTERVALS {
                if index >= count as usize {
                    break;
                }
                // SAFETY: below BLOCK_INTERVALS.
                let interval = unsafe { block.intervals.get_unchecked(index) };
                if interval.protocol == question.protocol
                    && interval.low <= question.port
                    && question.port <= interval.high
                {
                    verdict = interval.verdict;
                    cookie = interval.cookie;
                    break 'chain;
                }
            }
            if block.next == 0 {
                break;
            }
            let Some(next) = INTERVALS.get(block.next) else {
                return dropped(POLICY_CORRUPT);
            };
            block = next;
        }
    }
    question.cookie = cookie;
    if verdict == VERDICT_ALLOW {
        CONTINUE
    } else {
        denied(question)
    }
}

#[inline(always)]
const fn denied<F: Family>(question: &Question<F>) -> Verdict {
    dropped(if question.egress != 0 {
        POLICY_EGRESS
    } else {
        POLICY_INGRESS
    })
}

#[inline(always)]
const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP)
}

/// Judges a known flow anew, in the direction that began it. The packet's flow is as it arrived.
#[inline(always)]
pub fn again<F: Wire>(
    packet: &Packet<F>,
    entry: *mut F::Flow,
    endpoint: u32,
    from_local: bool,
) -> Verdict {
    let found = Found::<F> { entry, new: false };
    let flags = found.state().flags;
    if flags & FLOW_HAIRPIN != 0 {
        return CONTINUE;
    }
    let word = word(endpoint);
    let flow = &packet.flow;
    let (local_port, remote, remote_port) = if from_local {
        (flow.from_port, flow.to, flow.to_port)
    } else {
        (flow.to_port, flow.from, flow.from_port)
    };
    let mut question = if flags & FLOW_FROM_REMOTE != 0 {
        if F::node_address(remote) != 0 {
            return CONTINUE;
        }
        ingress::<F>(&word, remote, packet.protocol, u16::from_be(local_port))
    } else if flags & FLOW_REWRITE_FROM_LOCAL != 0 {
        let to = found.rewrite();
        egress::<F>(&word, to.to, packet.protocol, u16::from_be(to.to_port))
    } else {
        egress::<F>(&word, remote, packet.protocol, u16::from_be(remote_port))
    };
    if packet.protocol == F::ICMP {
        question.port = u16::from_be_bytes([<F as IcmpTypes>::ECHO_REQUEST, 0]);
    }
    let verdict = F::judge(&mut question);
    if verdict == CONTINUE {
        found.allow(word.epoch);
    }
    verdict
}
