//! Dual writes: a map that is to take another one's place is written together with it, from before the first entry is copied
//! until it has that place. So nobody who writes stands still while maps are copied and exchanged: a writer waits for one
//! piece of the copy at the most, which is all of the map where the kernel does not read its kind by batches.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// How long whoever copies lets writers go first, as long as some wait: a lock alone would be taken again before a thread that
/// waits for it is awake.
const YIELD: Duration = Duration::from_micros(20);

/// The map that is to take the place.
#[derive(Debug)]
pub(super) struct Next<T> {
    /// It.
    pub(super) map: T,
    /// Programs may go by it: what it does not take is refused.
    firm: bool,
    /// It did not take a write, for want of room.
    missed: bool,
    /// Another error of a write: it is not filled as it should be.
    failed: Option<io::Error>,
}

impl<T> Next<T> {
    /// Writes to it, before the map is written whose place it is to take. An error is for who writes.
    pub(super) fn write<R>(&mut self, write: impl FnOnce(&T) -> io::Result<R>) -> io::Result<()> {
        match write(&self.map) {
            Err(error) if self.firm => Err(error),
            Err(error) if is_full(&error) => {
                self.missed = true;
                Ok(())
            }
            Err(error) => {
                self.failed = Some(error);
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// Has in it again what stands in the map whose place it is to take: that did not take a write which this one took.
    pub(super) fn undo<R>(&mut self, restore: impl FnOnce(&T) -> io::Result<R>) {
        if let Err(error) = restore(&self.map) {
            self.failed = Some(error);
        }
    }
}

/// Whether a map had no room.
fn is_full(error: &io::Error) -> bool {
    let by_kernel = matches!(error.raw_os_error(), Some(libc::E2BIG | libc::ENOSPC));
    by_kernel || error.kind() == io::ErrorKind::StorageFull
}

/// What follows a map, if anything does.
#[derive(Debug)]
pub(super) struct Following<T> {
    next: Mutex<Option<Next<T>>>,
    /// How many wait for leave to write.
    writers: AtomicUsize,
}

impl<T> Default for Following<T> {
    fn default() -> Self {
        Self {
            next: Mutex::new(None),
            writers: AtomicUsize::new(0),
        }
    }
}

impl<T> Following<T> {
    /// Has this map follow from now on.
    pub(super) fn begin(&self, map: T) {
        *self.write() = Some(Next {
            map,
            firm: false,
            missed: false,
            failed: None,
        });
    }

    /// Nothing follows any more.
    pub(super) fn end(&self) {
        *self.write() = None;
    }

    /// For one write, to both.
    pub(super) fn write(&self) -> MutexGuard<'_, Option<Next<T>>> {
        self.writers.fetch_add(1, Ordering::AcqRel);
        let next = self.next.lock();
        self.writers.fetch_sub(1, Ordering::AcqRel);
        next.unwrap_or_else(PoisonError::into_inner)
    }

    /// For one piece of a copy.
    pub(super) fn piece(&self) -> MutexGuard<'_, Option<Next<T>>> {
        while self.writers.load(Ordering::Acquire) > 0 {
            thread::sleep(YIELD);
        }
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why what follows is not filled as it should be, but for want of room; once.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.write().as_mut()?.failed.take()
    }

    /// From now on a write that the map which follows does not take is refused. False if there was one already, and then nothing
    /// changes.
    pub(super) fn make_firm(&self) -> bool {
        match &mut *self.write() {
            Some(next) if next.missed || next.failed.is_some() => false,
            Some(next) => {
                next.firm = true;
                true
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::Following;

    struct Map;

    fn refuse(_: &Map) -> std::io::Result<()> {
        Err(Error::from(ErrorKind::StorageFull))
    }

    fn fail(_: &Map) -> std::io::Result<()> {
        Err(Error::from(ErrorKind::OutOfMemory))
    }

    #[test]
    fn what_is_not_for_want_of_room_is_told() {
        let following = Following::default();
        following.begin(Map);
        following.write().as_mut().unwrap().write(refuse).unwrap();
        assert!(following.failure().is_none());
        following.begin(Map);
        following.write().as_mut().unwrap().write(fail).unwrap();
        assert!(!following.make_firm());
        assert_eq!(following.failure().unwrap().kind(), ErrorKind::OutOfMemory);
        following.begin(Map);
        following.write().as_mut().unwrap().undo(fail);
        assert!(
            !following.make_firm(),
            "it may hold what the other one does not"
        );
    }

    #[test]
    fn a_map_that_missed_a_write_takes_no_place() {
        let following = Following::default();
        assert!(following.make_firm(), "nothing follows");
        following.begin(Map);
        following.write().as_mut().unwrap().write(refuse).unwrap();
        assert!(!following.make_firm());
        following.end();
        assert!(following.write().is_none());
    }

    #[test]
    fn what_a_map_in_use_does_not_take_is_refused() {
        let following = Following::default();
        following.begin(Map);
        assert!(following.make_firm());
        let refused = following.write().as_mut().unwrap().write(refuse);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
