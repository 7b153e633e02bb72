//! The lookup that the programs in the kernel do for a new flow, step by step, on the host.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proxy_common::policy::{
    cells::{ALLOW_ALL, Cell, LIST, ROW_STRIDE},
    intervals::{Interval, key},
    peers::{PEER_LOCAL_NODE, Peer},
    words::{PolicyWord, ROW_ALLOW_ALL, ROW_DENY_ALL},
};

use super::{Direction, view::PolicyView};
use crate::datapath::{table::TableError, tree};

/// A new flow, from the view of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Endpoint id.
    pub endpoint: u32,
    /// Who begins: ingress if the other side does.
    pub direction: Direction,
    /// Address of the other side, after Service translation.
    pub peer: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port; for ICMP `type << 8 | code`; 0 for what has no ports.
    pub port: u16,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No policy isolates the endpoint in this direction.
    NotIsolated,
    /// The flow comes from the endpoint's own node.
    OwnNode,
    /// The endpoint's policy is not known yet.
    NotReady,
    /// Neither an exact entry nor a prefix holds the address.
    NoPeer,
    /// The row has no column for the class.
    NoColumn,
    /// The whole cell: all or nothing.
    Cell,
    /// An interval of the cell's list.
    Interval(Interval),
    /// The cell's list has no interval that holds the port.
    NoInterval,
}

/// The verdict and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the flow may begin.
    pub allowed: bool,
    /// What decided.
    pub reason: Reason,
    /// The endpoint's word.
    pub word: PolicyWord,
    /// The row asked.
    pub row: u32,
    /// The entry found for the address.
    pub peer: Option<Peer>,
    /// The prefix it was found by; none if exactly or not at all.
    pub range: Option<IpNetwork>,
    /// The cell, if it came to that.
    pub cell: Option<Cell>,
}

/// Judges a flow by what the maps hold now.
pub fn judge(view: &impl PolicyView, question: &Question) -> Result<Answer, TableError> {
    judge_by(view, view.word(question.endpoint), question)
}

/// Judges a flow by a given word: that of a packet which has read it already.
pub fn judge_by(
    view: &impl PolicyView,
    word: u64,
    question: &Question,
) -> Result<Answer, TableError> {
    let word = PolicyWord::unpack(word);
    let (peer, range) = find(view, word.side, question.peer)?;
    judge_peer(view, word, peer, range, question)
}

/// The entry of an address, and the prefix if it was found by one.
pub fn find(
    view: &impl PolicyView,
    side: u32,
    address: IpAddr,
) -> Result<(Option<Peer>, Option<IpNetwork>), TableError> {
    if let Some(peer) = view.peer(side, address)? {
        return Ok((Some(peer), None));
    }
    Ok(match view.range(side, address)? {
        Some((range, peer)) => (Some(peer), Some(range)),
        None => (None, None),
    })
}

/// Judges a flow whose word and peer have been read already.
pub fn judge_peer(
    view: &impl PolicyView,
    word: PolicyWord,
    peer: Option<Peer>,
    range: Option<IpNetwork>,
    question: &Question,
) -> Result<Answer, TableError> {
    let row = match question.direction {
        Direction::Ingress => word.ingress_row,
        Direction::Egress => word.egress_row,
    };
    let mut answer = Answer {
        allowed: false,
        reason: Reason::NotReady,
        word,
        row,
        peer,
        range,
        cell: None,
    };
    let own_node = peer.is_some_and(|p| p.flags & PEER_LOCAL_NODE != 0);
    if row == ROW_ALLOW_ALL {
        (answer.allowed, answer.reason) = (true, Reason::NotIsolated);
    } else if own_node && question.direction == Direction::Ingress {
        (answer.allowed, answer.reason) = (true, Reason::OwnNode);
    } else if row != ROW_DENY_ALL {
        match peer {
            Some(peer) => judge_cell(view, peer.class, question, &mut answer)?,
            None => answer.reason = Reason::NoPeer,
        }
    }
    Ok(answer)
}

fn judge_cell(
    view: &impl PolicyView,
    class: u32,
    question: &Question,
    answer: &mut Answer,
) -> Result<(), TableError> {
    let header = answer.row * ROW_STRIDE;
    if class >= view.cell(header) as u32 {
        answer.reason = Reason::NoColumn;
        return Ok(());
    }
    let cell = Cell::unpack(view.cell(header + 1 + class));
    answer.cell = Some(cell);
    if cell.kind != LIST {
        (answer.allowed, answer.reason) = (cell.kind == ALLOW_ALL, Reason::Cell);
        return Ok(());
    }
    (answer.allowed, answer.reason) = search(view, cell.list, question)?;
    Ok(())
}

fn search(
    view: &impl PolicyView,
    root: u32,
    question: &Question,
) -> Result<(bool, Reason), TableError> {
    let key = key(question.protocol, question.port);
    let found = tree::search(root, key, |number| view.block(number))?;
    Ok(found.map_or((false, Reason::NoInterval), |interval| {
        (true, Reason::Interval(interval))
    }))
}
