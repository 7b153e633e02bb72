//! Sets of numbers: the peer sets that an address is in. Most are small, whatever the numbers are.

/// A set of numbers. Equal sets are equal values: sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Numbers(Vec<u32>);

impl Numbers {
    /// Whether `n` is in the set.
    pub fn contains(&self, n: u32) -> bool {
        self.0.binary_search(&n).is_ok()
    }

    /// Adds `n` or takes it out.
    pub fn assign(&mut self, n: u32, present: bool) {
        match (self.0.binary_search(&n), present) {
            (Err(at), true) => self.0.insert(at, n),
            (Ok(at), false) => drop(self.0.remove(at)),
            _ => {}
        }
    }

    /// Everything in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.iter().filter(|n| other.contains(*n)).collect())
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<u32> for Numbers {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut numbers: Vec<u32> = numbers.into_iter().collect();
        numbers.sort_unstable();
        numbers.dedup();
        Self(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_equal_values() {
        let mut a: Numbers = [200, 3, 3].into_iter().collect();
        a.assign(200, false);
        a.assign(7, false);
        assert_eq!(a, [3].into_iter().collect());
        a.assign(1, true);
        a.assign(1, true);
        assert_eq!(a, [1, 3].into_iter().collect());
    }

    #[test]
    fn union_and_intersection_agree_with_membership() {
        let a: Numbers = [1, 64, 130].into_iter().collect();
        let b: Numbers = [64, 2].into_iter().collect();
        assert_eq!(a.union(&b), [1, 2, 64, 130].into_iter().collect());
        assert_eq!(a.intersection(&b), [64].into_iter().collect());
        assert!(a.contains(64) && !a.contains(2));
    }
}
