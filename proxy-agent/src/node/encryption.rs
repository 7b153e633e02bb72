//! Encryption between nodes: `weir_wg`, one WireGuard device whose peers are the nodes that have published a key. A peer may send
//! from its pods' ranges and its own addresses, and WireGuard drops whatever else it sends. The programs say of each packet
//! whether it goes by the device (`TUNNELS*`); routes lead there what the host sends to pods of such nodes.
//!
//! With `strict` the ranges of all pods are closed, in the maps and by routes that lead nowhere; the ways of nodes with keys are
//! more specific.

pub mod figures;
pub mod files;
pub mod keeper;
pub mod key;
pub mod link;
pub mod made;
pub mod plan;
pub mod program;
pub mod publish;
pub mod rotation;
pub mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnetwork::IpNetwork;

use self::{key::PublicKey, rotation::Shown};
use crate::model::{Node, Snapshot};

/// A node with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub node: String,
    /// Where it takes encrypted packets.
    pub endpoint: SocketAddr,
    /// The addresses of which it may send, and that are reached by it.
    pub allowed: BTreeSet<IpNetwork>,
}

/// What the device should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encrypted {
    /// By key.
    pub peers: BTreeMap<PublicKey, Peer>,
    /// Ranges of pods that are reached by it.
    pub ranges: Vec<IpNetwork>,
    /// Ranges of pods to which nothing may leave unencrypted, and nothing leads.
    pub closed: BTreeSet<IpNetwork>,
    /// Addresses of nodes to which nothing that a pod sends may leave unencrypted.
    pub closed_nodes: BTreeSet<IpAddr>,
    /// The length of a packet for which it has room; 0 while no peer says.
    pub mtu: u32,
}

/// Whether this node encrypts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// It is not to.
    #[default]
    Off,
    /// It is to, but cannot.
    Unable,
    /// It has this key.
    Able(PublicKey),
}

/// How a node's pods are reached, as far as encryption says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cipher {
    /// As without encryption.
    Plain,
    /// With this key.
    Key(PublicKey),
    /// Not at all, and why.
    Closed(String),
}

/// The keys of the other nodes.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    ready: Ready,
    strict: bool,
    /// Who has published it.
    holders: Holders,
}

/// Nodes that are there, by what they have published.
type Holders = BTreeMap<PublicKey, BTreeSet<Arc<str>>>;

impl Keys {
    /// Those that nodes have published. This node's own counts too: who has it as well cannot be told from it.
    pub fn of(snapshot: &Snapshot, here: &str, ready: Ready, strict: bool) -> Self {
        let mut holders = holders(snapshot);
        // What is in use here counts, not what this node is about to use.
        for names in holders.values_mut() {
            names.remove(here);
        }
        if let Ready::Able(own) = ready {
            holders.entry(own).or_default().insert(here.into());
        }
        Self {
            ready,
            strict,
            holders,
        }
    }

    /// How a node's pods are reached. A key that two have published is nobody's: neither may lead the other's packets to itself,
    /// nor make them go unencrypted.
    pub fn cipher(&self, node: &Node) -> Cipher {
        let plain = |why: &str| {
            if self.strict {
                Cipher::Closed(why.to_owned())
            } else {
                Cipher::Plain
            }
        };
        match (self.ready, key(node)) {
            (Ready::Off, _) => Cipher::Plain,
            (Ready::Unable, _) => plain("this node cannot encrypt"),
            (Ready::Able(_), None) => plain("it has published no key"),
            (Ready::Able(_), Some(Err(why))) => plain(&format!("its key is none: {why}")),
            (Ready::Able(_), Some(Ok(key))) => match self.rival(node, key) {
                Some(rival) => Cipher::Closed(format!("node {rival} has published the same key")),
                None => Cipher::Key(key),
            },
        }
    }

    /// Another node with a node's key.
    fn rival(&self, node: &Node, key: PublicKey) -> Option<&str> {
        let mut holders = self.holders.get(&key)?.iter();
        holders
            .find(|name| ***name != *node.name)
            .map(AsRef::as_ref)
    }
}

fn holders(snapshot: &Snapshot) -> Holders {
    let mut holders = Holders::new();
    // Who has taken over the key of one that is gone has it alone.
    for (name, node) in snapshot.nodes.iter().filter(|(_, node)| !node.gone) {
        if let Some(Ok(key)) = key(node) {
            holders.entry(key).or_default().insert(Arc::clone(name));
        }
    }
    holders
}

/// What the API server has of keys, seen from a node: `present` is the one of its device.
pub fn shown(snapshot: &Snapshot, here: &str, present: Option<PublicKey>) -> Shown {
    let own = snapshot.nodes.get(here);
    let own = own.and_then(|node| key(node)?.ok());
    let holders = holders(snapshot);
    let mut of_present = present.and_then(|key| holders.get(&key)).into_iter();
    Shown {
        own,
        shared: of_present.any(|names| names.iter().any(|name| **name != *here)),
    }
}

/// Nodes that have published one key, by name and in words.
pub fn conflicts(snapshot: &Snapshot) -> BTreeMap<Arc<str>, String> {
    let shared = holders(snapshot).into_values();
    let shared = shared.filter(|names| names.len() > 1);
    let words = |name: Arc<str>, all: &BTreeSet<Arc<str>>| {
        let others: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
        let others: Vec<&str> = others
            .into_iter()
            .filter(|other| **other != *name)
            .collect();
        let others = others.join(", ");
        let note = format!(
            "node {name} has published the WireGuard key of node {others}: none of them is reached; each makes itself a new one"
        );
        (name, note)
    };
    shared
        .flat_map(|all| all.clone().into_iter().map(move |name| words(name, &all)))
        .collect()
}

/// What a node has published; none if nothing.
fn key(node: &Node) -> Option<Result<PublicKey, String>> {
    node.wireguard_key.as_deref().map(str::parse)
}

/// Why an annotation of a Node is not followed.
pub fn mistake(node: &Node) -> Option<String> {
    let why = key(node)?.err()?;
    Some(format!(
        "annotation weir.dev/wireguard-public-key of node {}: {why}",
        node.name
    ))
}

impl Encrypted {
    /// Takes up a node that is reached with this key at this address and port.
    pub fn add(&mut self, node: &Node, key: PublicKey, endpoint: SocketAddr) {
        let own = node.internal_ips.iter().filter(|ip| node.holds(**ip));
        let own = own.map(|ip| IpNetwork::from(*ip));
        let pods = node.pod_cidrs.iter().copied();
        let peer = Peer {
            node: node.name.clone(),
            endpoint,
            allowed: pods.chain(own).map(whole).collect(),
        };
        self.ranges.extend(&node.pod_cidrs);
        self.peers.insert(key, peer);
    }

    /// Closes the way to a node: to its pods, and for pods to itself.
    pub fn close(&mut self, node: &Node) {
        self.closed.extend(&node.pod_cidrs);
        let own = node.internal_ips.iter().filter(|ip| node.holds(**ip));
        self.closed_nodes.extend(own);
    }

    /// Whether anything is encrypted, or closed because it is not.
    pub fn is_any(&self) -> bool {
        !(self.peers.is_empty() && self.closed.is_empty() && self.closed_nodes.is_empty())
    }

    /// The smaller room of this and another way.
    pub fn narrow(&mut self, mtu: u32) {
        self.mtu = match self.mtu {
            0 => mtu,
            least => least.min(mtu),
        };
    }
}

/// As the kernel has a range, without bits behind the prefix.
fn whole(range: IpNetwork) -> IpNetwork {
    IpNetwork::new(range.network(), range.prefix()).unwrap_or(range)
}

/// What encryption puts around a packet, over a family: headers of IP, UDP and WireGuard, and the tag.
pub const fn around(end: IpAddr) -> u32 {
    if end.is_ipv4() {
        proxy_common::tunnel::ENCRYPTION_ROOM4
    } else {
        proxy_common::tunnel::ENCRYPTION_ROOM6
    }
}

#[cfg(test)]
mod tests;
