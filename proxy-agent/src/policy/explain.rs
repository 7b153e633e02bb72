//! Why a flow met its verdict, beyond the verdict: what isolates the pod, what the peer is, and what would
//! have passed. All from the live maps; only names come from the agent.

use proxy_common::policy::{
    peers::{PEER_NODE, PEER_UNKNOWN_POD},
    words::ROW_FIRST,
};
use serde::{Deserialize, Serialize};

use super::{
    in_words::{cookies, passes},
    lookup::{Answer, Reason},
    view::PolicyView,
};
use crate::{
    api::messages::{PolicyNames, RowName, RuleWords},
    datapath::table::TableError,
};

/// So many near misses are told.
const TOLD: usize = 3;

/// What stands beside a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// Policies that isolate the pod in this direction.
    pub policies: Vec<String>,
    /// What policies call the other side; all of it is so.
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
    let unknown = matches!(
        answer.reason,
        Reason::Cell | Reason::NoPeer | Reason::NoColumn
    );
    if let Some(row) = row.filter(|_| unknown && !answer.allowed) {
        explanation.hints.extend(others(row, names));
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

/// The rules of the row, none of which names this peer: what they let pass, and for whom.
fn others(row: &RowName, names: &PolicyNames) -> Vec<String> {
    let direction = row.direction;
    let rules = row.policies.iter().flat_map(|policy| {
        let first = format!("{policy} {direction}[");
        let rules = names.rules.range(first.clone()..);
        rules.take_while(move |(name, _)| name.starts_with(&first))
    });
    // What names nobody that there can be is no near miss.
    let rules = rules.filter(|(_, rule)| !rule.peers.is_empty()).take(TOLD);
    rules
        .map(|(name, RuleWords { peers, ports })| {
            let ports = match ports.as_slice() {
                [] => "everything".to_owned(),
                some => some.join(","),
            };
            format!("rule {name} lets pass {ports} for {}", peers.join(" or "))
        })
        .collect()
}
