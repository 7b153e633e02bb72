//! What the numbers of rows and classes stand for: for `proxyctl`, which reads only numbers from the maps.

use std::collections::BTreeMap;

use super::{
    PolicyEngine,
    atoms::{Atom, Namespaces},
    plan::Selected,
    row::RowKey,
    rows::Row,
};
use crate::{
    api::messages::{PolicyNames, RowName, RuleWords},
    model::{LabelSelector, ObjectName, Operator, PolicyPort, PolicyRule, Requirement},
};

impl PolicyEngine {
    /// What the numbers in the maps stand for now.
    pub fn names(&self) -> PolicyNames {
        let rows = self.in_force.values().flat_map(|f| f.rows);
        let rows = rows.filter_map(|selected| match selected {
            Selected::Row(handle) => self.rows.all.get(&handle),
            Selected::Deny | Selected::Allow => None,
        });
        let rows: BTreeMap<u32, &RowKey> = rows
            .filter_map(|row: &Row| Some((row.place.number, row.key.as_deref()?)))
            .collect();
        let classes = self.kernel.classes.known();
        PolicyNames {
            closed: self.closed(),
            rules: rows.values().copied().flat_map(rules).collect(),
            rows: rows
                .into_iter()
                .map(|(number, key)| (number, row_name(key)))
                .collect(),
            classes: classes
                .map(|(id, vector)| (id, self.peers(vector)))
                .collect(),
        }
    }

    fn closed(&self) -> BTreeMap<u32, [Option<String>; 2]> {
        let why = self.back_off.why();
        let said = |policy: &ObjectName| {
            let waits = self.effective.waiting.contains_key(policy);
            let what = if waits {
                "waits for room"
            } else {
                "was refused"
            };
            format!("NetworkPolicy {policy} {what}: {why}")
        };
        let closed = self.denied.closed.iter();
        closed
            .map(|(id, by)| (*id, by.each_ref().map(|policy| policy.as_ref().map(said))))
            .collect()
    }

    fn peers(&self, vector: u32) -> Vec<String> {
        let sets = self.compiled.vectors.get(vector).sets.iter();
        sets.map(|set| either(self.compiled.atoms.members(set).map(describe)))
            .collect()
    }
}

/// So many of the peers or ports of a rule are named.
const NAMED: usize = 8;

/// The first of them, and how many more there are.
fn some(all: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = all.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("{more} more"));
    all.take(NAMED).chain(more).collect()
}

/// One of these peers.
fn either(peers: impl ExactSizeIterator<Item = String>) -> String {
    some(peers).join(" or ")
}

fn row_name(key: &RowKey) -> RowName {
    let name = |v: &std::sync::Arc<super::version::PolicyVersion>| v.policy.name.to_string();
    RowName {
        direction: key.direction,
        policies: key.policies.iter().map(name).collect(),
    }
}

/// The rules that a row is made of.
fn rules(key: &RowKey) -> impl Iterator<Item = (String, RuleWords)> {
    let direction = key.direction;
    key.policies.iter().flat_map(move |version| {
        let policy = &version.policy;
        let rules = direction.rules(policy);
        let name = move |place| format!("{} {direction}[{place}]", policy.name);
        let rules = rules.into_iter().flatten().enumerate();
        rules.map(move |(place, rule)| (name(place), rule_words(rule, policy.name.namespace())))
    })
}

fn rule_words(rule: &PolicyRule, namespace: &str) -> RuleWords {
    let peers = rule.peers.iter().filter_map(|p| Atom::of(p, namespace));
    let mut peers: Vec<String> = peers.map(|atom| describe(&atom)).collect();
    if rule.peers.is_empty() {
        peers.push("everyone".to_owned());
    }
    RuleWords {
        peers: some(peers.into_iter()),
        ports: some(rule.ports.iter().map(port)),
    }
}

fn port(port: &PolicyPort) -> String {
    match port {
        PolicyPort::All(protocol) => protocol.to_string(),
        PolicyPort::Range(protocol, first, last) if first == last => format!("{first}/{protocol}"),
        PolicyPort::Range(protocol, first, last) => format!("{first}-{last}/{protocol}"),
        PolicyPort::Named(protocol, name) => format!("{name}/{protocol}"),
    }
}

/// A peer in words, selectors as kubectl takes them.
pub fn describe(atom: &Atom) -> String {
    match atom {
        Atom::Pods(namespaces, pods) => {
            let pods = match selector(pods) {
                all if all.is_empty() => "all pods".to_owned(),
                some => format!("pods {some}"),
            };
            match namespaces {
                Namespaces::Own(name) => format!("{pods} of namespace {name}"),
                Namespaces::Selected(some) if some.requirements.is_empty() => {
                    format!("{pods} of all namespaces")
                }
                Namespaces::Selected(some) => format!("{pods} of namespaces {}", selector(some)),
            }
        }
        Atom::Block(cidr, except) if except.is_empty() => format!("ipBlock {cidr}"),
        Atom::Block(cidr, except) => {
            let except = some(except.iter().map(ToString::to_string));
            format!("ipBlock {cidr} except {}", except.join(","))
        }
    }
}

fn selector(selector: &LabelSelector) -> String {
    let parts: Vec<_> = selector.requirements.iter().map(requirement).collect();
    parts.join(",")
}

fn requirement(requirement: &Requirement) -> String {
    let Requirement {
        key,
        operator,
        values,
    } = requirement;
    match (operator, values.as_slice()) {
        (Operator::In, [one]) => format!("{key}={one}"),
        (Operator::In, many) => format!("{key} in ({})", many.join(",")),
        (Operator::NotIn, many) => format!("{key} notin ({})", many.join(",")),
        (Operator::Exists, _) => key.clone(),
        (Operator::DoesNotExist, _) => format!("!{key}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_in_words() {
        let pods = LabelSelector {
            requirements: [
                Requirement {
                    key: "app".into(),
                    operator: Operator::In,
                    values: vec!["web".into()],
                },
                Requirement {
                    key: "old".into(),
                    operator: Operator::DoesNotExist,
                    values: vec![],
                },
            ]
            .into_iter()
            .collect(),
        };
        let own = Atom::Pods(Namespaces::Own("shop".into()), pods.clone());
        assert_eq!(describe(&own), "pods app=web,!old of namespace shop");
        let all = Atom::Pods(Namespaces::Selected(pods), LabelSelector::default());
        assert_eq!(describe(&all), "all pods of namespaces app=web,!old");
        let except = vec!["10.1.0.0/16".parse().unwrap()];
        let block = Atom::Block("10.0.0.0/8".parse().unwrap(), except);
        assert_eq!(describe(&block), "ipBlock 10.0.0.0/8 except 10.1.0.0/16");
    }
}
