//! Rows: what selects a pod in one direction, and what that says about a class.

use std::{collections::HashMap, sync::Arc};

use proxy_common::policy::intervals::Interval;

use super::{
    Direction,
    atoms::Atoms,
    cookie::Cookies,
    intervals::{allow, normalise},
    vector::Vector,
    version::PolicyVersion,
};
use crate::model::{ContainerPort, PolicyPort, PolicyRule};

/// What makes a row: pods with the same key share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowKey {
    /// Direction.
    pub direction: Direction,
    /// The policies that isolate the pod in this direction, by name.
    pub policies: Vec<Arc<PolicyVersion>>,
    /// The pod's ports whose names rules of these policies use (ingress only), sorted.
    pub bindings: Vec<ContainerPort>,
}

/// A rule, ready to be held against a class.
#[derive(Clone, Debug)]
struct Rule {
    /// None: everything.
    ports: Option<Vec<Ports>>,
    cookie: u32,
}

#[derive(Clone, Debug)]
enum Ports {
    Fixed(Interval),
    /// The destination's port of this name (number in [`Atoms`]), with protocol.
    Named(u32, crate::model::Protocol),
}

/// What a row says about a class.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Nothing passes.
    Deny,
    /// Everything passes, by the rule of this cookie.
    Allow(u32),
    /// These intervals pass.
    List(Vec<Interval>),
}

/// A row's rules in terms of the peer sets in use.
#[derive(Clone, Debug, Default)]
pub struct Program {
    rules: Vec<Rule>,
    /// Rules for everyone.
    open: Vec<u32>,
    /// Rules for a peer set.
    by_set: HashMap<u32, Vec<u32>>,
}

/// Which rules of a program hold for a class, and the ports that the class brings with it: all that the
/// content of a cell depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Match {
    rules: Vec<u32>,
    ports: Vec<(u32, u16)>,
}

impl Program {
    /// Compiles a row.
    pub fn of(key: &RowKey, atoms: &Atoms, cookies: &mut Cookies) -> Self {
        let mut program = Self::default();
        for version in &key.policies {
            let policy = &version.policy;
            let own = key.direction.rules(policy).unwrap_or_default();
            for (i, rule) in own.iter().enumerate() {
                let cookie = cookies.of(&policy.name, key.direction, i as u32);
                let number = program.rules.len() as u32;
                if rule.peers.is_empty() {
                    program.open.push(number);
                } else if let Some(set) = atoms.set(rule, policy.name.namespace()) {
                    program.by_set.entry(set).or_default().push(number);
                }
                program.rules.push(Rule {
                    ports: ports(rule, key, atoms, cookie),
                    cookie,
                });
            }
        }
        program
    }

    /// The cookies of its rules.
    pub fn cookies(&self) -> impl Iterator<Item = u32> {
        self.rules.iter().map(|rule| rule.cookie)
    }

    /// Holds the rules against a class.
    pub fn matches(&self, vector: &Vector) -> Match {
        let sets = vector.sets.iter();
        let mut rules: Vec<u32> = sets
            .filter_map(|set| self.by_set.get(&set))
            .chain(std::iter::once(&self.open))
            .flatten()
            .copied()
            .collect();
        rules.sort_unstable();
        let named = |i: &u32| {
            let ports = self.rules[*i as usize].ports.iter().flatten();
            ports.into_iter().any(|p| matches!(p, Ports::Named(..)))
        };
        let uses_names = rules.iter().any(named);
        Match {
            rules,
            ports: if uses_names {
                vector.ports.clone()
            } else {
                Vec::new()
            },
        }
    }

    /// What the rules that hold say.
    pub fn content(&self, held: &Match) -> Content {
        let mut intervals = Vec::new();
        for rule in held.rules.iter().map(|i| &self.rules[*i as usize]) {
            let Some(ports) = &rule.ports else {
                return Content::Allow(rule.cookie);
            };
            for port in ports {
                resolve(port, held, rule.cookie, &mut intervals);
            }
        }
        let list = normalise(&intervals);
        if list.is_empty() {
            Content::Deny
        } else {
            Content::List(list)
        }
    }
}

fn resolve(port: &Ports, held: &Match, cookie: u32, into: &mut Vec<Interval>) {
    match port {
        Ports::Fixed(interval) => into.push(*interval),
        Ports::Named(name, protocol) => into.extend(
            held.ports
                .iter()
                .filter(|(n, _)| n == name)
                .map(|(_, number)| allow(*protocol, *number, *number, cookie)),
        ),
    }
}

fn ports(rule: &PolicyRule, key: &RowKey, atoms: &Atoms, cookie: u32) -> Option<Vec<Ports>> {
    if rule.ports.is_empty() {
        return None;
    }
    let mut ports = Vec::new();
    for port in &rule.ports {
        match port {
            PolicyPort::All(p) => ports.push(Ports::Fixed(allow(*p, 0, u16::MAX, cookie))),
            PolicyPort::Range(p, low, high) => {
                ports.push(Ports::Fixed(allow(*p, *low, *high, cookie)));
            }
            PolicyPort::Named(p, name) if key.direction == Direction::Egress => {
                ports.extend(atoms.port_name(*p, name).map(|n| Ports::Named(n, *p)));
            }
            PolicyPort::Named(p, name) => ports.extend(
                key.bindings
                    .iter()
                    .filter(|b| b.protocol == *p && b.name == *name)
                    .map(|b| Ports::Fixed(allow(*p, b.port, b.port, cookie))),
            ),
        }
    }
    Some(ports)
}
