//! Regions: the address space cut at every edge that a policy or a pod range draws, and the vector of each
//! piece. An `ipBlock` matches pods' and nodes' addresses too: they take the vector of their region.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use proxy_common::policy::peers::PEER_UNKNOWN_POD;

use super::{
    atoms::{Atom, Atoms},
    bits::Bits,
    prefix_map::PrefixMap,
    vector::{Vector, VectorId, Vectors},
};

/// What addresses of a prefix have that no longer prefix and no exact entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Vector: block atoms only.
    pub vector: VectorId,
    /// `PEER_*` bits.
    pub flags: u32,
}

/// Cuts the address space at the edges of all block atoms and of the pods' ranges.
pub fn regions(
    atoms: &Atoms,
    pod_cidrs: &BTreeSet<IpNetwork>,
    vectors: &mut Vectors,
) -> PrefixMap<Region> {
    let edges = edges(atoms, pod_cidrs);
    let mut bits: PrefixMap<(Bits, u32)> = PrefixMap::default();
    let mut regions = PrefixMap::default();
    for (prefix, touched) in in_order(&edges) {
        let (mut own, mut flags) = bits
            .parent(prefix)
            .map(|(_, parent)| parent.clone())
            .unwrap_or_default();
        for number in touched {
            own.assign(*number, atoms.all()[*number as usize].matches_range(prefix));
        }
        if pod_cidrs.contains(&prefix) {
            flags |= PEER_UNKNOWN_POD;
        }
        let vector = vectors.intern(Vector {
            bits: own.clone(),
            ports: Vec::new(),
        });
        regions.insert(prefix, Region { vector, flags });
        bits.insert(prefix, (own, flags));
    }
    regions
}

/// Every edge with the atoms that begin or end there.
fn edges(atoms: &Atoms, pod_cidrs: &BTreeSet<IpNetwork>) -> BTreeMap<IpNetwork, Vec<u32>> {
    let mut edges: BTreeMap<IpNetwork, Vec<u32>> = BTreeMap::new();
    edges.extend(everything().map(|prefix| (prefix, Vec::new())));
    for prefix in pod_cidrs {
        edges.entry(*prefix).or_default();
    }
    for (number, atom) in atoms.all().iter().enumerate() {
        let Atom::Block(cidr, except) = atom else {
            continue;
        };
        for prefix in std::iter::once(cidr).chain(except) {
            edges.entry(*prefix).or_default().push(number as u32);
        }
    }
    edges
}

/// Outer prefixes before inner ones.
fn in_order(edges: &BTreeMap<IpNetwork, Vec<u32>>) -> Vec<(IpNetwork, &Vec<u32>)> {
    let mut order: Vec<_> = edges
        .iter()
        .map(|(prefix, atoms)| (*prefix, atoms))
        .collect();
    order.sort_by_key(|(prefix, _)| prefix.prefix());
    order
}

/// The prefixes of length 0, which are always there.
fn everything() -> impl Iterator<Item = IpNetwork> {
    let v4 = Ipv4Network::new([0, 0, 0, 0].into(), 0).map(IpNetwork::from);
    let v6 = Ipv6Network::new([0_u16; 8].into(), 0).map(IpNetwork::from);
    v4.into_iter().chain(v6)
}
