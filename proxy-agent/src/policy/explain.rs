//! Why a flow met its verdict, beyond the verdict: what isolates the pod, what the peer is, and what would
//! have passed. All from the live maps; only names come from the agent.

use proxy_common::policy::{
    cells::{ALLOW_ALL, Cell, DENY_ALL, ROW_STRIDE},
    peers::{PEER_NODE, PEER_UNKNOWN_POD},
    words::ROW_FIRST,
};
use serde::Serialize;

use super::{
    in_words::{cookies, passes},
    lookup::{Answer, Reason},
    view::PolicyView,
};
use crate::{api::messages::PolicyNames, datapath::table::TableError};

/// So many near misses are told.
const TOLD: usize = 3;

/// What stands beside a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Policies that isolate the pod in this direction.
    pub policies: Vec<String>,
    /// What policies call the other side.
    pub peer: Vec<String>,
    /// What the other side may use.
    pub passes: Option<String>,
    /// What nearly held, and what to know about the other side.
    pub hints: Vec<String>,
}

/// Explains an answer. `rule` names a rule by its cookie.
pub fn explain(
    view: &impl PolicyView,
    answer: &Answer,
    names: &PolicyNames,
    rule: impl Fn(u32) -> String,
) -> Result<Explanation, TableError> {
    let row = names.rows.get(&answer.row);
    let class = answer.peer.and_then(|p| names.classes.get(&p.class));
    let mut explanation = Explanation {
        policies: row.map(|r| r.policies.clone()).unwrap_or_default(),
        peer: class.cloned().unwrap_or_default(),
        passes: answer.cell.map(|cell| passes(view, cell)).transpose()?,
        hints: about_peer(answer),
    };
    if let (Reason::NoInterval, Some(cell)) = (answer.reason, answer.cell) {
        let rules: Vec<_> = cookies(view, cell)?.into_iter().map(&rule).collect();
        let ports = passes(view, cell)?;
        let near = format!("for this peer {} only lets pass {ports}", rules.join(", "));
        explanation.hints.push(near);
    }
    if answer.reason == Reason::Cell && !answer.allowed {
        explanation
            .hints
            .extend(others(view, answer, names, &rule)?);
    }
    Ok(explanation)
}

fn about_peer(answer: &Answer) -> Vec<String> {
    let flags = answer.peer.map_or(0, |p| p.flags);
    let mut hints = Vec::new();
    if flags & PEER_UNKNOWN_POD != 0 {
        let unknown = "the address lies in a pod range, but no pod is known to have it";
        hints.push(unknown.to_owned());
    }
    if flags & PEER_NODE != 0 && answer.row >= ROW_FIRST {
        let node = "the address is a node's: only ipBlock matches nodes and pods with host network";
        hints.push(node.to_owned());
    }
    hints
}

/// Rules of the same row that let other peers in.
fn others(
    view: &impl PolicyView,
    answer: &Answer,
    names: &PolicyNames,
    rule: impl Fn(u32) -> String,
) -> Result<Vec<String>, TableError> {
    let first = answer.row * ROW_STRIDE;
    let mut told: Vec<String> = Vec::new();
    for (class, peers) in &names.classes {
        let cell = Cell::unpack(view.cell(first + 1 + class));
        let beyond = *class >= view.cell(first) as u32;
        if beyond || cell.kind == DENY_ALL || peers.is_empty() || told.len() == TOLD {
            continue;
        }
        let rules: Vec<_> = cookies(view, cell)?.into_iter().map(&rule).collect();
        let ports = match cell.kind {
            ALLOW_ALL => "everything".to_owned(),
            _ => passes(view, cell)?,
        };
        let near = format!(
            "{} lets pass {ports} for {}",
            rules.join(", "),
            peers.join(" | ")
        );
        if !told.contains(&near) {
            told.push(near);
        }
    }
    Ok(told)
}
