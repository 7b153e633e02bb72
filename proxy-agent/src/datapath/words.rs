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

/// A bit of an array of words.
#[cfg(test)]
pub fn bit(words: &dyn Words, number: u32) -> bool {
    words.get(number / u64::BITS) & mask(number) != 0
}

/// The bits that are set, in order.
#[cfg(test)]
pub fn set_bits(words: &dyn Words) -> Vec<u32> {
    let words = (0..words.len()).map(|index| (index, words.get(index)));
    let used = words.filter(|(_, word)| *word != 0);
    used.flat_map(|(index, word)| {
        let bits = (0..u64::BITS).filter(move |bit| word >> bit & 1 != 0);
        bits.map(move |bit| index * u64::BITS + bit)
    })
    .collect()
}

/// Sets or clears a bit of an array of words that nobody else writes.
pub fn set_bit(words: &mut dyn Words, number: u32, on: bool) {
    let index = number / u64::BITS;
    let word = words.get(index);
    let new = if on {
        word | mask(number)
    } else {
        word & !mask(number)
    };
    if new != word {
        words.set(index, new);
    }
}

const fn mask(number: u32) -> u64 {
    1 << (number % u64::BITS)
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
