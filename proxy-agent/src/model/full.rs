//! Trees without slack.

use std::collections::{BTreeMap, BTreeSet};

/// Builds a tree anew: filled one after the other its nodes are little more than half full, built at once they
/// are full.
pub fn full<T: Tree>(tree: &mut T) {
    *tree = std::mem::take(tree).built_anew();
}

/// A tree of the standard library.
pub trait Tree: Default {
    /// The same tree.
    #[must_use]
    fn built_anew(self) -> Self;
}

impl<K: Ord, V> Tree for BTreeMap<K, V> {
    fn built_anew(self) -> Self {
        self.into_iter().collect()
    }
}

impl<T: Ord> Tree for BTreeSet<T> {
    fn built_anew(self) -> Self {
        self.into_iter().collect()
    }
}
