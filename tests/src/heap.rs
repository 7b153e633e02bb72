//! What a part of the agent takes of the heap, for tests of budgets.

use std::{fmt::Debug, fs};

use k8s_openapi::serde::de::DeserializeOwned;
use proxy_agent::{
    datapath::{Table, TableError},
    observe::{Converted, convert::Convert, intern::Interner},
};
use serde_json::Value;

/// A map that takes everything and keeps nothing: the kernel's memory is not the agent's.
#[derive(Clone, Debug)]
pub struct Elsewhere(pub &'static str);

impl<K: Copy + Ord + Debug, V: Copy + PartialEq + Debug> Table<K, V> for Elsewhere {
    fn name(&self) -> &str {
        self.0
    }

    fn capacity(&self) -> u32 {
        u32::MAX
    }

    fn get(&self, _: &K) -> Result<Option<V>, TableError> {
        Ok(None)
    }

    fn set(&mut self, _: &K, _: &V) -> Result<(), TableError> {
        Ok(())
    }

    fn remove(&mut self, _: &K) -> Result<(), TableError> {
        Ok(())
    }

    fn entries(&self) -> Result<Vec<(K, V)>, TableError> {
        Ok(Vec::new())
    }
}

/// Bytes in pages that this process has written and not given back.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|l| l.trim().strip_suffix(" kB"));
    kilobytes.unwrap().parse::<usize>().unwrap() * 1024
}

/// What becomes resident from part to part, in bytes per object.
pub struct Parts {
    objects: usize,
    began: usize,
    last: usize,
    each: Vec<(&'static str, usize)>,
}

impl Parts {
    /// Begins now, for so many objects.
    pub fn of(objects: usize) -> Self {
        let now = resident();
        Self {
            objects,
            began: now,
            last: now,
            each: Vec::new(),
        }
    }

    /// A part ends.
    pub fn add(&mut self, part: &'static str) {
        let now = resident();
        let added = now.saturating_sub(self.last) / self.objects;
        self.each.push((part, added));
        self.last = now;
    }

    /// What became resident since the beginning, and of what parts.
    pub fn total(self) -> (usize, Vec<(&'static str, usize)>) {
        let total = resident().saturating_sub(self.began) / self.objects;
        (total, self.each)
    }
}

/// The list of a kind, as a watch reads it: one object after the other.
pub fn list<K: Convert + DeserializeOwned>(
    count: usize,
    object: impl Fn(usize) -> Value,
    interner: &Interner,
) -> Vec<Converted> {
    let read = |number| {
        let object: K = serde_json::from_value(object(number)).unwrap();
        object.convert(interner).unwrap()
    };
    (0..count).map(read).collect()
}
