//! Class numbers: columns of the cell table.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::vector::VectorId;

/// Number of a class.
pub type ClassId = u32;

/// So many numbers may be free below the highest, however few are in use.
const SPARE: ClassId = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Class {
    /// What the columns of all rows in force say; none if unknown.
    vector: Option<VectorId>,
    /// Entries of `PEERS*` and `CIDRS*` that name it.
    members: u32,
    in_use: bool,
    /// Waits to be given back.
    leaving: bool,
}

/// The classes in use.
#[derive(Clone, Debug, Default)]
pub struct Classes {
    classes: Vec<Class>,
    free: BinaryHeap<Reverse<ClassId>>,
}

impl Classes {
    /// A number that is not in use: the lowest, so that rows stay short.
    pub fn take(&mut self, vector: VectorId) -> ClassId {
        let id = if let Some(Reverse(id)) = self.free.pop() {
            id
        } else {
            self.classes.push(Class::default());
            self.classes.len() as ClassId - 1
        };
        self.classes[id as usize] = Class {
            vector: Some(vector),
            members: 0,
            in_use: true,
            leaving: false,
        };
        id
    }

    /// Takes over a class found in the map, whose vector nobody knows.
    pub fn adopt(&mut self, id: ClassId) {
        while self.classes.len() <= id as usize {
            self.free.push(Reverse(self.classes.len() as ClassId));
            self.classes.push(Class::default());
        }
        let class = &mut self.classes[id as usize];
        if !class.in_use {
            class.in_use = true;
            self.free.retain(|free| free.0 != id);
        }
    }

    /// Gives a number back.
    pub fn release(&mut self, id: ClassId) {
        if let Some(class) = self.classes.get_mut(id as usize)
            && class.in_use
        {
            *class = Class::default();
            self.free.push(Reverse(id));
        }
    }

    /// The vector that a class stands for.
    pub fn vector(&self, id: ClassId) -> Option<VectorId> {
        self.classes.get(id as usize).and_then(|c| c.vector)
    }

    /// Sets what a class stands for.
    pub fn set_vector(&mut self, id: ClassId, vector: Option<VectorId>) {
        if let Some(class) = self.classes.get_mut(id as usize) {
            class.vector = vector;
        }
    }

    /// An entry names the class now.
    pub fn enter(&mut self, id: ClassId) {
        if let Some(class) = self.classes.get_mut(id as usize) {
            class.members += 1;
        }
    }

    /// An entry does not name it any more.
    pub fn leave(&mut self, id: ClassId) {
        if let Some(class) = self.classes.get_mut(id as usize) {
            class.members = class.members.saturating_sub(1);
        }
    }

    /// Numbers from here on are too high for so few classes: who is of them moves to a lower one, of which as many are
    /// free.
    pub fn ceiling(&self) -> ClassId {
        2 * self.in_use().count() as ClassId + SPARE
    }

    /// Whether some numbers are too high.
    pub fn are_sparse(&self) -> bool {
        self.bound() > self.ceiling()
    }

    /// The classes in use.
    pub fn in_use(&self) -> impl Iterator<Item = ClassId> {
        let all = self.classes.iter().enumerate();
        all.filter(|(_, class)| class.in_use)
            .map(|(id, _)| id as ClassId)
    }

    /// Per vector, the lowest class that stands for it.
    pub fn canonical(&self) -> BTreeMap<VectorId, ClassId> {
        let mut canonical = BTreeMap::new();
        let ceiling = self.ceiling();
        for (id, class) in self.known().filter(|(id, _)| *id < ceiling) {
            canonical.entry(class).or_insert(id);
        }
        canonical
    }

    /// Classes with a known vector, and the vector.
    pub fn known(&self) -> impl Iterator<Item = (ClassId, VectorId)> {
        let all = self.classes.iter().enumerate();
        all.filter_map(|(id, class)| Some((id as ClassId, class.vector?)))
    }

    /// Classes that nothing names any more: they stand for nothing from now on, and may be given back after a
    /// grace period. Each is told once.
    pub fn desert(&mut self) -> Vec<ClassId> {
        let mut deserted = Vec::new();
        for (id, class) in self.classes.iter_mut().enumerate() {
            if class.in_use && class.members == 0 && !class.leaving {
                class.leaving = true;
                class.vector = None;
                deserted.push(id as ClassId);
            }
        }
        deserted
    }

    /// Whether two classes stand for the same vector.
    pub fn has_twins(&self) -> bool {
        let vectors: BTreeSet<VectorId> = self.known().map(|(_, vector)| vector).collect();
        self.known().count() > vectors.len()
    }

    /// One above the highest number in use.
    pub fn bound(&self) -> u32 {
        let last = self.classes.iter().rposition(|c| c.in_use);
        last.map_or(0, |id| id as u32 + 1)
    }
}
