//! Regions: the address space cut at every edge that a policy, a pod range or a range of this node draws, and the vector of each
//! piece. An `ipBlock` matches pods' and nodes' addresses too: they take the vector of their region.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use proxy_common::policy::peers::{PEER_LOCAL_NODE, PEER_NODE, PEER_UNKNOWN_POD};

use super::{
    addresses::Addresses,
    atoms::{Atom, Atoms},
    numbers::Numbers,
    prefix_map::{PrefixMap, covers},
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

/// Cuts the address space at the edges of all block atoms, of the pods' ranges and of this node's own. An edge at which nothing changes for
/// policy makes no region.
pub fn regions(atoms: &Atoms, addresses: &Addresses, vectors: &mut Vectors) -> PrefixMap<Region> {
    let mut regions = PrefixMap::default();
    let mut walk = Walk::new(atoms);
    for (prefix, touched) in &edges(atoms, addresses) {
        let outer = walk.enter(*prefix);
        let region = Region {
            vector: vectors.intern(walk.touch(touched)),
            flags: outer.map_or(0, |r| r.flags) | flags(*prefix, addresses),
        };
        walk.is_at(region);
        if outer != Some(region) {
            regions.insert(*prefix, region);
        }
    }
    regions
}

/// `PEER_*` bits of what lies in a prefix, by the prefix itself.
fn flags(prefix: IpNetwork, addresses: &Addresses) -> u32 {
    let when = |set: &BTreeSet<IpNetwork>, bits| if set.contains(&prefix) { bits } else { 0 };
    when(&addresses.pod_cidrs, PEER_UNKNOWN_POD)
        | when(&addresses.own_ranges, PEER_NODE | PEER_LOCAL_NODE)
}

/// A walk over all prefixes, outer ones before what lies in them: the atoms and peer sets that hold at its place.
struct Walk<'a> {
    atoms: &'a Atoms,
    holds: Vec<bool>,
    /// By peer set, how many of its atoms hold.
    counts: Vec<u32>,
    sets: Numbers,
    /// The prefixes around the place.
    around: Vec<Place>,
}

struct Place {
    prefix: IpNetwork,
    region: Option<Region>,
    /// Atoms that hold here and not around, or the other way round.
    changed: Vec<u32>,
}

impl<'a> Walk<'a> {
    fn new(atoms: &'a Atoms) -> Self {
        Self {
            atoms,
            holds: vec![false; atoms.all().len()],
            counts: vec![0; atoms.set_count()],
            sets: Numbers::default(),
            around: Vec::new(),
        }
    }

    /// Goes into a prefix; gives the region around it.
    fn enter(&mut self, prefix: IpNetwork) -> Option<Region> {
        while let Some(place) = self.around.pop_if(|place| !covers(place.prefix, prefix)) {
            place.changed.into_iter().for_each(|atom| self.turn(atom));
        }
        let outer = self.around.last().and_then(|place| place.region);
        self.around.push(Place {
            prefix,
            region: None,
            changed: Vec::new(),
        });
        outer
    }

    /// What holds behind an edge of these atoms.
    fn touch(&mut self, atoms: &[u32]) -> Vector {
        if let Some(mut place) = self.around.pop() {
            for atom in atoms {
                let begins = self.atoms.all()[*atom as usize].begins_at(place.prefix);
                if begins != self.holds[*atom as usize] {
                    self.turn(*atom);
                    place.changed.push(*atom);
                }
            }
            self.around.push(place);
        }
        Vector {
            sets: self.sets.clone(),
            ports: Vec::new(),
        }
    }

    fn is_at(&mut self, region: Region) {
        if let Some(place) = self.around.last_mut() {
            place.region = Some(region);
        }
    }

    fn turn(&mut self, atom: u32) {
        let holds = &mut self.holds[atom as usize];
        *holds = !*holds;
        for set in self.atoms.holders(atom) {
            let count = &mut self.counts[*set as usize];
            *count = if *holds { *count + 1 } else { *count - 1 };
            self.sets.assign(*set, *count > 0);
        }
    }
}

/// Every edge with the atoms that begin or end there; outer prefixes before what lies in them.
fn edges(atoms: &Atoms, addresses: &Addresses) -> Vec<(IpNetwork, Vec<u32>)> {
    let mut edges: BTreeMap<(IpAddr, u8), (IpNetwork, Vec<u32>)> = BTreeMap::new();
    let mut touch = |prefix: IpNetwork, atom: Option<u32>| {
        let edge = edges.entry((prefix.network(), prefix.prefix()));
        let (_, atoms) = edge.or_insert_with(|| (prefix, Vec::new()));
        atoms.extend(atom);
    };
    everything().for_each(|prefix| touch(prefix, None));
    for prefix in addresses.pod_cidrs.union(&addresses.own_ranges) {
        touch(*prefix, None);
    }
    for (number, atom) in (0..).zip(atoms.all()) {
        let Atom::Block(cidr, except) = atom else {
            continue;
        };
        touch(*cidr, Some(number));
        for prefix in except {
            touch(*prefix, Some(number));
        }
    }
    edges.into_values().collect()
}

/// The prefixes of length 0, which are always there.
fn everything() -> impl Iterator<Item = IpNetwork> {
    let v4 = Ipv4Network::new([0, 0, 0, 0].into(), 0).map(IpNetwork::from);
    let v6 = Ipv6Network::new([0_u16; 8].into(), 0).map(IpNetwork::from);
    v4.into_iter().chain(v6)
}
