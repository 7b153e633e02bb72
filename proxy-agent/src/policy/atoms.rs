//! Atoms: the distinct peers that policies in use name.
//!
//! Labels that no policy mentions make no atoms, so the number of classes follows the policies of this
//! node, not the label sets of the cluster.

use std::{collections::BTreeSet, sync::Arc};

use ipnetwork::IpNetwork;

use super::{
    numbers::Numbers,
    prefix_map::{canonical, covers},
    version::PolicyVersion,
};
use crate::model::{LabelSelector, Labels, Peer, PolicyPort, PolicyRule, Protocol};

/// Whose pods a selector is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespaces {
    /// The policy's own namespace.
    Own(Arc<str>),
    /// Those that a selector selects.
    Selected(LabelSelector),
}

/// A distinct peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Atom {
    /// Pods of some namespaces.
    Pods(Namespaces, LabelSelector),
    /// A range without some ranges.
    Block(IpNetwork, Vec<IpNetwork>),
}

impl Atom {
    /// The atom that a peer of a policy in `namespace` names; none if it matches nothing.
    pub fn of(peer: &Peer, namespace: &str) -> Option<Self> {
        match peer {
            Peer::Pods { namespaces, pods } => {
                let namespaces = namespaces
                    .clone()
                    .map_or_else(|| Namespaces::Own(namespace.into()), Namespaces::Selected);
                Some(Self::Pods(namespaces, pods.clone()))
            }
            Peer::Block { cidr, except } => {
                let mut except: Vec<_> = except.iter().copied().map(canonical).collect();
                except.sort_unstable();
                Some(Self::Block(canonical(*cidr), except))
            }
            Peer::Nothing => None,
        }
    }

    /// Whether what begins at this edge of a block lies in it: at the block's own edge, unless an exception takes all of
    /// it, but not at an exception's.
    pub fn begins_at(&self, edge: IpNetwork) -> bool {
        match self {
            Self::Pods(..) => false,
            Self::Block(cidr, except) => {
                *cidr == edge && !except.iter().any(|except| covers(*except, edge))
            }
        }
    }
}

/// A name and protocol by which egress rules call ports of destinations.
pub type PortName = (Protocol, String);

/// The atoms in use, numbered, and the *peer sets*: the distinct lists of peers of rules. What policy says of an address
/// depends on the sets it is in, not on which peers of a set it satisfies: a thousand blocks of one rule are one set.
#[derive(Clone, Debug, Default)]
pub struct Atoms {
    all: Vec<Atom>,
    /// Numbers of atoms, sorted.
    sets: Vec<Vec<u32>>,
    /// By atom, the sets that it is in.
    holders: Vec<Vec<u32>>,
    port_names: Vec<PortName>,
}

impl Atoms {
    /// The atoms of these policies.
    pub fn of<'a>(policies: impl IntoIterator<Item = &'a PolicyVersion>) -> Self {
        let mut names = BTreeSet::new();
        let mut rules: Vec<Vec<Atom>> = Vec::new();
        for version in policies {
            let policy = &version.policy;
            let egress = policy.egress.iter().flatten();
            let all = policy.ingress.iter().flatten().chain(egress.clone());
            let named = all.filter(|rule| !rule.peers.is_empty());
            rules.extend(named.map(|rule| atoms_of(rule, policy.name.namespace()).collect()));
            names.extend(egress.flat_map(named_ports));
        }
        let atoms: BTreeSet<Atom> = rules.iter().flatten().cloned().collect();
        let mut all = Self {
            all: atoms.into_iter().collect(),
            port_names: names.into_iter().collect(),
            ..Self::default()
        };
        let sets: BTreeSet<Vec<u32>> = rules.iter().map(|rule| all.numbers(rule)).collect();
        all.sets = sets.into_iter().collect();
        all.holders = vec![Vec::new(); all.all.len()];
        for (set, atoms) in (0..).zip(&all.sets) {
            for atom in atoms {
                all.holders[*atom as usize].push(set);
            }
        }
        all
    }

    fn numbers(&self, atoms: &[Atom]) -> Vec<u32> {
        let numbers: BTreeSet<u32> = atoms.iter().filter_map(|atom| self.number(atom)).collect();
        numbers.into_iter().collect()
    }

    /// The atoms; their place is their number.
    pub fn all(&self) -> &[Atom] {
        &self.all
    }

    fn number(&self, atom: &Atom) -> Option<u32> {
        self.all.binary_search(atom).ok().map(|n| n as u32)
    }

    /// The number of the set of a rule's peers, which has some.
    pub fn set(&self, rule: &PolicyRule, namespace: &str) -> Option<u32> {
        let atoms: Vec<Atom> = atoms_of(rule, namespace).collect();
        let numbers = self.numbers(&atoms);
        self.sets.binary_search(&numbers).ok().map(|n| n as u32)
    }

    /// The atoms of a set.
    pub fn members(&self, set: u32) -> impl ExactSizeIterator<Item = &Atom> {
        let members = self.sets.get(set as usize).map_or(&[][..], Vec::as_slice);
        members.iter().map(|atom| &self.all[*atom as usize])
    }

    /// The sets that an atom is in.
    pub fn holders(&self, atom: u32) -> &[u32] {
        self.holders.get(atom as usize).map_or(&[], Vec::as_slice)
    }

    /// How many sets there are.
    pub fn set_count(&self) -> usize {
        self.sets.len()
    }

    /// The number of a port name that an egress rule uses.
    pub fn port_name(&self, protocol: Protocol, name: &str) -> Option<u32> {
        self.port_names
            .binary_search_by(|(p, n)| (*p, n.as_str()).cmp(&(protocol, name)))
            .ok()
            .map(|n| n as u32)
    }

    /// Which pod atoms are about a namespace.
    pub fn about_namespace(&self, name: &str, labels: &Labels) -> Vec<u32> {
        let about = |atom: &Atom| match atom {
            Atom::Pods(Namespaces::Own(own), _) => &**own == name,
            Atom::Pods(Namespaces::Selected(selector), _) => selector.matches(labels),
            Atom::Block(..) => false,
        };
        (0..self.all.len() as u32)
            .filter(|n| about(&self.all[*n as usize]))
            .collect()
    }

    /// The sets in which one of these pod atoms selects a pod with these labels.
    pub fn satisfied(&self, candidates: &[u32], labels: &Labels) -> Numbers {
        let selects = |n: &&u32| match &self.all[**n as usize] {
            Atom::Pods(_, pods) => pods.matches(labels),
            Atom::Block(..) => false,
        };
        let atoms = candidates.iter().filter(selects);
        atoms
            .flat_map(|atom| self.holders(*atom).iter().copied())
            .collect()
    }
}

fn atoms_of<'a>(rule: &'a PolicyRule, namespace: &'a str) -> impl Iterator<Item = Atom> + 'a {
    rule.peers
        .iter()
        .filter_map(|peer| Atom::of(peer, namespace))
}

fn named_ports(rule: &PolicyRule) -> impl Iterator<Item = PortName> + '_ {
    rule.ports.iter().filter_map(|port| match port {
        PolicyPort::Named(protocol, name) => Some((*protocol, name.to_string())),
        PolicyPort::All(_) | PolicyPort::Range(..) => None,
    })
}
