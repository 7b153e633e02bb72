//! Sets of small numbers: which atoms an address satisfies, which atoms a rule names.

/// A set of small numbers. Equal sets are equal values: no trailing zero words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Whether `n` is in the set.
    pub fn contains(&self, n: u32) -> bool {
        self.0
            .get(n as usize / 64)
            .is_some_and(|w| w >> (n % 64) & 1 == 1)
    }

    /// Adds `n`.
    pub fn insert(&mut self, n: u32) {
        let word = n as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (n % 64);
    }

    /// Takes `n` out.
    pub fn remove(&mut self, n: u32) {
        if let Some(w) = self.0.get_mut(n as usize / 64) {
            *w &= !(1 << (n % 64));
            self.trim();
        }
    }

    /// Adds `n` or takes it out.
    pub fn assign(&mut self, n: u32, present: bool) {
        if present {
            self.insert(n);
        } else {
            self.remove(n);
        }
    }

    /// Whether the sets share a number.
    pub fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Everything in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (long, short) = if self.0.len() >= other.0.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut words = long.0.clone();
        for (a, b) in words.iter_mut().zip(&short.0) {
            *a |= b;
        }
        Self(words)
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect());
        both.trim();
        both
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.0.len() as u32 * 64).filter(|n| self.contains(*n))
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut bits = Self::default();
        numbers.into_iter().for_each(|n| bits.insert(n));
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_equal_values() {
        let mut a: Bits = [3, 200].into_iter().collect();
        a.remove(200);
        assert_eq!(a, [3].into_iter().collect());
        assert_eq!(a.intersection(&[70].into_iter().collect()), Bits::default());
    }

    #[test]
    fn union_and_intersection_agree_with_membership() {
        let a: Bits = [1, 64, 130].into_iter().collect();
        let b: Bits = [64, 2].into_iter().collect();
        assert_eq!(a.union(&b).iter().collect::<Vec<_>>(), [1, 2, 64, 130]);
        assert_eq!(a.intersection(&b).iter().collect::<Vec<_>>(), [64]);
        assert!(a.intersects(&b));
        assert!(!a.intersects(&[2].into_iter().collect()));
    }
}
