//! Cached counts: how many entries a map has, counted again only after writes.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// A count that holds until something is written.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How often something was written.
    writes: AtomicU64,
    /// The entries, and after how many writes they were counted.
    counted: Mutex<Option<(u64, u32)>>,
}

impl Tally {
    /// Something was written.
    pub(super) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Release);
    }

    /// How many entries there are; by `count`, if something was written since it was asked last.
    pub(super) fn entries<E>(&self, count: impl FnOnce() -> Result<u32, E>) -> Result<u32, E> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        // As it is before the count: after what is written meanwhile it is counted again.
        let writes = self.writes.load(Ordering::Acquire);
        if let Some((_, entries)) = counted.filter(|(at, _)| *at == writes) {
            return Ok(entries);
        }
        let entries = count()?;
        *counted = Some((writes, entries));
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::Tally;

    #[test]
    fn what_nobody_has_written_to_is_not_counted_again() {
        let tally = Tally::default();
        let says = |entries| tally.entries(|| Ok::<_, Infallible>(entries)).unwrap();
        assert_eq!((says(1), says(2)), (1, 1));
        tally.wrote();
        assert_eq!((says(3), says(4)), (3, 3));
    }

    #[test]
    fn what_is_written_during_a_count_is_counted_by_the_next() {
        let tally = Tally::default();
        let first = tally.entries(|| {
            tally.wrote();
            Ok::<_, Infallible>(1)
        });
        assert_eq!(first, Ok(1));
        assert_eq!(tally.entries(|| Ok::<_, Infallible>(2)), Ok(2));
    }

    #[test]
    fn a_count_that_fails_is_none() {
        let tally = Tally::default();
        assert_eq!(tally.entries(|| Err("no")), Err("no"));
        assert_eq!(tally.entries(|| Ok::<_, &str>(5)), Ok(5));
    }
}
