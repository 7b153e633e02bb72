//! `NetworkPolicy`: one word per endpoint, then class, cell and interval list (`proxy_common::policy`).

use core::ptr::read_volatile;

use aya_ebpf::btf_maps::lpm_trie::Key;
use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::{NO_POLICY, POLICY_CORRUPT, POLICY_EGRESS, POLICY_INGRESS};
use proxy_common::node::NODE_ALLOW_EGRESS_TO_NODE;
use proxy_common::policy::cells::{ALLOW_ALL, Cell, DENY_ALL, LIST, ROW_STRIDE};
use proxy_common::policy::intervals::{
    BLOCK_INTERVALS, Interval, IntervalBlock, LIST_DEPTH, VERDICT_ALLOW, key,
};
use proxy_common::policy::peers::{CidrKey, PEER_NODE, PEER_POD, PEER_UNKNOWN_POD, Peer, PeerKey};
use proxy_common::policy::words::{PolicyWord, ROW_ALLOW_ALL, ROW_DENY_ALL};

use super::node;
use crate::machine::global::global;
use crate::machine::verdict::CONTINUE;
use crate::machine::words::to_stack;
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

/// Whether a peer (`Question::peer`) is a pod.
#[inline(always)]
pub const fn is_pod(peer: u32) -> bool {
    peer & (PEER_POD | PEER_UNKNOWN_POD) != 0 && peer & PEER_NODE == 0
}

#[inline(always)]
fn peer<F: Family>(side: u32, address: F::Address) -> Option<Peer> {
    // SAFETY: eight bytes, read at once.
    if let Some(peer) = unsafe { F::peers().get(PeerKey { side, address }) } {
        return Some(*peer);
    }
    let bits = 8 * size_of::<CidrKey<F::Address>>() as u32;
    let key = Key::new(bits, CidrKey { side, address });
    F::cidrs().get(&key).copied()
}

global! {
    /// `CONTINUE`, or the reason of the denial.
    pub fn judge(question: Question) = decide
}

#[inline(always)]
fn decide<F: Family>(question: &mut Question<F>) -> Verdict {
    let peer = peer::<F>(question.side, question.address);
    question.peer = peer.map_or(0, |peer| peer.flags);
    if question.row == ROW_ALLOW_ALL {
        return CONTINUE;
    }
    if question.egress != 0
        && node::is_set(NODE_ALLOW_EGRESS_TO_NODE)
        && node::any_address::<F>(&to_stack(&question.address)) != 0
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

/// Searches the list: from the root down to the one interval that can hold the port.
#[inline(always)]
fn in_list<F: Family>(question: &mut Question<F>, list: u32) -> Verdict {
    if !has_ports(question.protocol) && question.protocol != F::ICMP {
        return denied(question);
    }
    let sought = key(question.protocol, question.port);
    let mut number = list;
    for _ in 0..LIST_DEPTH {
        let Some(block) = INTERVALS.get(number) else {
            return dropped(POLICY_CORRUPT);
        };
        let found = last_not_above(block, sought);
        if block.level != 0 {
            number = found.cookie;
            continue;
        }
        let holds = found.protocol == question.protocol && question.port <= found.high;
        if holds && found.verdict == VERDICT_ALLOW {
            question.cookie = found.cookie;
            return CONTINUE;
        }
        return denied(question);
    }
    dropped(POLICY_CORRUPT)
}

/// The last entry whose key is not above the one sought; zeros if there is none. By value: what the verifier knows of it
/// must not depend on its place, or each place is a way of its own.
#[inline(always)]
fn last_not_above(block: &IntervalBlock, sought: u32) -> Interval {
    let mut last = Interval::default();
    let count = block.count;
    for index in 0..BLOCK_INTERVALS {
        if index >= count as usize {
            break;
        }
        // SAFETY: below BLOCK_INTERVALS.
        let interval = unsafe { block.intervals.get_unchecked(index) };
        if interval.key() > sought {
            break;
        }
        last = *interval;
    }
    last
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

use crate::machine::verdict::{Verdict, dropped};
