//! Compiled peers: the vector of any address, in terms of the atoms in use.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ipnetwork::IpNetwork;
use proxy_common::policy::peers::PEER_POD;

use super::{
    addresses::{Addresses, Owner},
    atoms::Atoms,
    prefix_map::PrefixMap,
    regions::{Region, regions},
    row::RowKey,
    vector::{Vector, VectorId, Vectors},
};
use crate::model::{ContainerPort, Labels, Namespace};

/// The label that every namespace has (KEP-2161).
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Label sets remembered per namespace. Jobs make new ones without end.
const LABEL_SETS_KEPT: usize = 4096;

/// The atoms of a set of rows, and what addresses are in their terms.
#[derive(Debug, Default)]
pub struct Compiled {
    /// Atoms in use.
    pub atoms: Atoms,
    /// Vectors in use.
    pub vectors: Vectors,
    /// The address space, cut at its edges.
    pub regions: PrefixMap<Region>,
    namespaces: BTreeMap<Arc<str>, Labels>,
    /// Per namespace: the pod atoms about it, and the vector of each label set met.
    groups: HashMap<Arc<str>, Group>,
}

#[derive(Debug, Default)]
struct Group {
    candidates: Vec<u32>,
    vectors: HashMap<Labels, VectorId>,
}

/// What an entry of `PEERS*` or `CIDRS*` should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Vector.
    pub vector: VectorId,
    /// `PEER_*` bits.
    pub flags: u32,
    /// False: the entry should be gone; the rest says what its addresses are then.
    pub keep: bool,
}

impl Compiled {
    /// Compiles the peers of these rows.
    pub fn of<'a>(
        rows: impl IntoIterator<Item = &'a RowKey>,
        namespaces: &BTreeMap<Arc<str>, Arc<Namespace>>,
        addresses: &Addresses,
    ) -> Self {
        let policies = rows.into_iter().flat_map(|row| &row.policies);
        let atoms = Atoms::of(policies.map(|v| &**v));
        let mut vectors = Vectors::default();
        let regions = regions(&atoms, addresses, &mut vectors);
        let labels = |n: &Namespace| with_name(&n.name, &n.labels);
        Self {
            atoms,
            vectors,
            regions,
            namespaces: namespaces
                .iter()
                .map(|(k, n)| (Arc::clone(k), labels(n)))
                .collect(),
            groups: HashMap::new(),
        }
    }

    /// What the entry of an address should say.
    pub fn address(&mut self, address: IpAddr, addresses: &Addresses) -> Want {
        let region = self.regions.lookup(address).map(|(_, r)| *r);
        let region = region.unwrap_or(Region {
            vector: 0,
            flags: 0,
        });
        let (vector, flags, keep) = match addresses.owner(address) {
            Some(Owner::Node(flags)) => (region.vector, flags, true),
            Some(Owner::Local(None)) => (region.vector, PEER_POD, true),
            Some(Owner::Local(Some(s))) => {
                let pod = self.pod(&s.namespace, &s.labels, &s.ports);
                (self.vectors.join(pod, region.vector), PEER_POD, true)
            }
            Some(Owner::Pods(pods)) => {
                let vectors: Vec<_> = pods
                    .iter()
                    .map(|p| self.pod(p.name.namespace(), &p.labels, &p.named_ports))
                    .collect();
                let pod = self.common(&vectors);
                (self.vectors.join(pod, region.vector), PEER_POD, true)
            }
            None => (region.vector, region.flags, false),
        };
        Want {
            vector,
            flags,
            keep,
        }
    }

    /// What the entry of a prefix should say.
    pub fn prefix(&self, prefix: IpNetwork) -> Want {
        let exact = self.regions.get(prefix);
        let region = exact.or_else(|| self.regions.parent(prefix).map(|(_, r)| r));
        Want {
            vector: region.map_or(0, |r| r.vector),
            flags: region.map_or(0, |r| r.flags),
            keep: exact.is_some(),
        }
    }

    fn common(&mut self, vectors: &[VectorId]) -> VectorId {
        let all_one = vectors.windows(2).all(|w| w[0] == w[1]);
        if let (true, Some(one)) = (all_one, vectors.first()) {
            return *one;
        }
        let first = vectors.first().map(|v| self.vectors.get(*v).clone());
        let mut common = first.unwrap_or_default();
        for vector in vectors {
            common = common.common(self.vectors.get(*vector));
        }
        self.vectors.intern(common)
    }

    fn pod(&mut self, namespace: &str, labels: &Labels, ports: &[ContainerPort]) -> VectorId {
        let named = self.named(ports);
        let group = self.group(namespace);
        if named.is_empty()
            && let Some(vector) = group.vectors.get(labels)
        {
            return *vector;
        }
        let candidates = std::mem::take(&mut group.candidates);
        let vector = Vector {
            sets: self.atoms.satisfied(&candidates, labels),
            ports: named,
        };
        let is_plain = vector.ports.is_empty();
        let id = self.vectors.intern(vector);
        let group = self.group(namespace);
        group.candidates = candidates;
        if is_plain {
            if group.vectors.len() >= LABEL_SETS_KEPT {
                group.vectors.clear();
            }
            group.vectors.insert(labels.clone(), id);
        }
        id
    }

    fn named(&self, ports: &[ContainerPort]) -> Vec<(u32, u16)> {
        let mut named: Vec<_> = ports
            .iter()
            .filter_map(|p| Some((self.atoms.port_name(p.protocol, &p.name)?, p.port)))
            .collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    fn group(&mut self, namespace: &str) -> &mut Group {
        let (atoms, namespaces) = (&self.atoms, &self.namespaces);
        self.groups.entry(namespace.into()).or_insert_with(|| {
            let labels = namespaces.get(namespace).cloned();
            let labels = labels.unwrap_or_else(|| with_name(namespace, &Labels::default()));
            Group {
                candidates: atoms.about_namespace(namespace, &labels),
                vectors: HashMap::new(),
            }
        })
    }
}

/// A namespace's labels with the one that the API server always sets: a folder of manifests may lack it.
pub fn with_name(name: &str, labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    if labels.get(NAMESPACE_NAME).is_none() {
        labels.set(NAMESPACE_NAME, name);
    }
    labels
}
