//! Atoms: the distinct peers that policies in use name.
//!
//! Labels that no policy mentions make no atoms, so the number of classes follows the policies of this
//! node, not the label sets of the cluster.

use std::{collections::BTreeSet, sync::Arc};

use ipnetwork::IpNetwork;

use super::{
    bits::Bits,
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

    /// Whether a range lies in this block and outside its exceptions. Ranges must not straddle an edge.
    pub fn matches_range(&self, range: IpNetwork) -> bool {
        match self {
            Self::Pods(..) => false,
            Self::Block(cidr, except) => {
                covers(*cidr, range) && !except.iter().any(|e| covers(*e, range))
            }
        }
    }
}

/// A name and protocol by which egress rules call ports of destinations.
pub type PortName = (Protocol, String);

/// The atoms in use, numbered.
#[derive(Clone, Debug, Default)]
pub struct Atoms {
    atoms: Vec<Atom>,
    port_names: Vec<PortName>,
}

impl Atoms {
    /// The atoms of these policies.
    pub fn of<'a>(policies: impl IntoIterator<Item = &'a PolicyVersion>) -> Self {
        let mut atoms = BTreeSet::new();
        let mut names = BTreeSet::new();
        for version in policies {
            let policy = &version.policy;
            let egress = policy.egress.iter().flatten();
            for rule in policy.ingress.iter().flatten().chain(egress.clone()) {
                let namespace = policy.name.namespace();
                atoms.extend(rule.peers.iter().filter_map(|p| Atom::of(p, namespace)));
            }
            names.extend(egress.flat_map(named_ports));
        }
        Self {
            atoms: atoms.into_iter().collect(),
            port_names: names.into_iter().collect(),
        }
    }

    /// The atoms; their place is their number.
    pub fn all(&self) -> &[Atom] {
        &self.atoms
    }

    /// The number of an atom.
    pub fn number(&self, atom: &Atom) -> Option<u32> {
        self.atoms.binary_search(atom).ok().map(|n| n as u32)
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
        (0..self.atoms.len() as u32)
            .filter(|n| about(&self.atoms[*n as usize]))
            .collect()
    }

    /// Which of these pod atoms a pod with these labels satisfies.
    pub fn satisfied(&self, candidates: &[u32], labels: &Labels) -> Bits {
        let selects = |n: &u32| match &self.atoms[*n as usize] {
            Atom::Pods(_, pods) => pods.matches(labels),
            Atom::Block(..) => false,
        };
        candidates.iter().copied().filter(selects).collect()
    }
}

fn named_ports(rule: &PolicyRule) -> impl Iterator<Item = PortName> + '_ {
    rule.ports.iter().filter_map(|port| match port {
        PolicyPort::Named(protocol, name) => Some((*protocol, name.clone())),
        PolicyPort::All(_) | PolicyPort::Range(..) => None,
    })
}
