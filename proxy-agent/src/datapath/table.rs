//! The interface through which every subsystem writes maps: a [`Table`] of keys and values.
//!
//! The kernel's maps implement it, and so does an in-memory one that fails a share of its writes, seeded,
//! so that each test of a plan is also a test of its retry.

use std::{fmt::Debug, io};

/// What a map write can fail with.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The map has no room.
    #[error("{operation} {map}: the map is full ({capacity} entries)")]
    Full {
        /// What was done.
        operation: &'static str,
        /// Name of the map.
        map: String,
        /// Its capacity.
        capacity: u32,
    },
    /// The kernel refused.
    #[error("{operation} {map} {key}: {source}")]
    Kernel {
        /// What was done.
        operation: &'static str,
        /// Name of the map.
        map: String,
        /// The key.
        key: String,
        /// Why.
        source: io::Error,
    },
}

impl TableError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Full { .. } => {
                "the agent makes it larger by itself if it runs and the node has memory; `maps` of its \
                 configuration says how large it is at least"
            }
            Self::Kernel { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run as root on the node"
            }
            Self::Kernel { .. } => {
                "is the agent of another version? `proxyctl version` compares the layouts of the maps"
            }
        }
    }
}

/// A map of the datapath. Single writer: the agent.
pub trait Table<K: Copy + Ord + Debug, V: Copy + PartialEq + Debug>: Send {
    /// Name of the map.
    fn name(&self) -> &str;
    /// How many entries fit.
    fn capacity(&self) -> u32;
    /// The value under a key.
    fn get(&self, key: &K) -> Result<Option<V>, TableError>;
    /// Writes one entry, new or not, in one atomic step for readers of it.
    fn set(&mut self, key: &K, value: &V) -> Result<(), TableError>;
    /// Writes entries in their order, each as [`Self::set`] does; gives how many were written until one was refused, and
    /// why.
    fn set_all(&mut self, entries: &[(K, V)]) -> (usize, Result<(), TableError>) {
        for (written, (key, value)) in entries.iter().enumerate() {
            if let Err(error) = self.set(key, value) {
                return (written, Err(error));
            }
        }
        (entries.len(), Ok(()))
    }
    /// Removes one entry; absent ones are no error.
    fn remove(&mut self, key: &K) -> Result<(), TableError>;
    /// Reads all entries.
    fn entries(&self) -> Result<Vec<(K, V)>, TableError>;
    /// Reads about `limit` entries more, in no order; all that are left where that is not possible.
    fn page(&self, cursor: &mut Cursor<K>, _limit: usize) -> Result<Vec<(K, V)>, TableError> {
        cursor.done = true;
        self.entries()
    }
}

/// A [`Table`] of which there may be more handles than one, for threads that write in turns.
pub trait SharedTable<K: Copy + Ord + Debug, V: Copy + PartialEq + Debug>: Table<K, V> {
    /// Another handle of the same map.
    fn share(&self) -> Box<dyn SharedTable<K, V>>;
}

impl<K, V, T> SharedTable<K, V> for T
where
    K: Copy + Ord + Debug,
    V: Copy + PartialEq + Debug,
    T: Table<K, V> + Clone + 'static,
{
    fn share(&self) -> Box<dyn SharedTable<K, V>> {
        Box::new(self.clone())
    }
}

/// How far a map has been read, page by page.
#[derive(Clone, Debug)]
pub struct Cursor<K> {
    /// All has been read.
    pub done: bool,
    /// The last key, where keys have an order.
    pub(super) last: Option<K>,
    /// Where the kernel goes on; empty at the beginning.
    pub(super) position: Vec<u8>,
}

impl<K> Default for Cursor<K> {
    fn default() -> Self {
        Self {
            done: false,
            last: None,
            position: Vec::new(),
        }
    }
}
