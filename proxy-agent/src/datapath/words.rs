//! Arrays of 64-bit words that the kernel reads while the agent writes: `POLICY_WORDS`, `POLICY_CELLS`.
//!
//! They are mapped into memory, because a map update by system call copies bytes and a program could see
//! half of one. Each store here is one atomic store.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A fixed array of words in the kernel. Single writer: the agent.
pub trait Words: Send {
    /// Number of words.
    fn len(&self) -> u32;
    /// Reads one word; 0 beyond the end.
    fn get(&self, index: u32) -> u64;
    /// Stores one word in one atomic step, after all stores before it. Indexes beyond the end are a
    /// mistake of the caller and change nothing.
    fn set(&mut self, index: u32, word: u64);
    /// Whether the array has no words at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The same in ordinary memory. Clones share the words, so that a test can watch them.
#[derive(Clone, Debug)]
pub struct MemoryWords(Arc<[AtomicU64]>);

impl MemoryWords {
    /// Words that are all zero.
    pub fn new(len: u32) -> Self {
        Self((0..len).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Words for MemoryWords {
    fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn get(&self, index: u32) -> u64 {
        self.0
            .get(index as usize)
            .map_or(0, |w| w.load(Ordering::Acquire))
    }

    fn set(&mut self, index: u32, word: u64) {
        if let Some(w) = self.0.get(index as usize) {
            w.store(word, Ordering::Release);
        }
    }
}
