//! What is random comes from one seed.

use proptest::{
    prelude::RngExt as _,
    test_runner::{RngAlgorithm, TestRng},
};

/// A source of randomness.
#[derive(Debug)]
pub(crate) struct Dice(TestRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// One of some.
    pub(crate) fn of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len())]
    }

    /// True so many times in a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Up to `most` different ones of some.
    pub(crate) fn some<T: Copy>(&mut self, some: &[T], most: usize) -> Vec<T> {
        let mut rest = some.to_vec();
        let count = self.below(most + 1).min(rest.len());
        (0..count)
            .map(|_| rest.remove(self.below(rest.len())))
            .collect()
    }
}
