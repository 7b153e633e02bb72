//! Vectors: what policies in use can tell about an address. A class is what has one vector.

use std::collections::HashMap;

use super::{interner::Interner, numbers::Numbers};

/// All that rows look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vector {
    /// Peer sets that the address is in.
    pub sets: Numbers,
    /// Its named ports, as far as egress rules call them by name: (number of the name, port), sorted.
    pub ports: Vec<(u32, u16)>,
}

impl Vector {
    /// What two claims on one address have in common. Allow rules only: less is safe.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let both = |p: &&(u32, u16)| other.ports.contains(p);
        Self {
            sets: self.sets.intersection(&other.sets),
            ports: self.ports.iter().filter(both).copied().collect(),
        }
    }
}

/// Number of a vector in [`Vectors`].
pub type VectorId = u32;

/// The vectors in use, numbered. Pod vectors and range vectors are joined by number, because there are few
/// of each and many addresses.
#[derive(Clone, Debug, Default)]
pub struct Vectors {
    interned: Interner<Vector>,
    joined: HashMap<(VectorId, VectorId), VectorId>,
    nothing: Vector,
}

impl Vectors {
    /// The number of a vector.
    pub fn intern(&mut self, vector: Vector) -> VectorId {
        self.interned.intern(vector)
    }

    /// The vector of a number.
    pub fn get(&self, id: VectorId) -> &Vector {
        self.interned.get(id).map_or(&self.nothing, |v| v)
    }

    /// The vector of an address that is both.
    pub fn join(&mut self, pod: VectorId, range: VectorId) -> VectorId {
        if let Some(id) = self.joined.get(&(pod, range)) {
            return *id;
        }
        let (a, b) = (self.get(pod), self.get(range));
        let both = Vector {
            sets: a.sets.union(&b.sets),
            ports: a.ports.clone(),
        };
        let id = self.intern(both);
        self.joined.insert((pod, range), id);
        id
    }

    /// How many distinct vectors there are.
    pub fn len(&self) -> usize {
        self.interned.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.interned.is_empty()
    }
}
