//! An array map of words in our own memory (`BPF_F_MMAPABLE`): a store is seen by the programs at once, and
//! whole.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::AsFd,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The words of a map.
#[derive(Debug)]
pub struct MappedWords {
    start: NonNull<AtomicU64>,
    length: usize,
}

// SAFETY: the memory is shared with the kernel anyway; it is reached through atomics only.
unsafe impl Send for MappedWords {}
// SAFETY: as above.
unsafe impl Sync for MappedWords {}

impl MappedWords {
    /// Maps an array of `length` values of eight bytes, which the caller has compared with the map.
    pub fn new(map: impl AsFd, length: usize) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(length * size_of::<u64>())
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let start = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self {
            start: start.cast(),
            length,
        })
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// A word.
    pub fn load(&self, index: usize) -> Option<u64> {
        self.words()
            .get(index)
            .map(|word| word.load(Ordering::Acquire))
    }

    /// Stores a word after all stores before it; false if the index is out of range.
    pub fn store(&self, index: usize, value: u64) -> bool {
        match self.words().get(index) {
            Some(word) => {
                word.store(value, Ordering::Release);
                true
            }
            None => false,
        }
    }

    /// Stores a word if it is still what was read; false if it is not, or the index is out of range.
    pub fn exchange(&self, index: usize, read: u64, value: u64) -> bool {
        self.words().get(index).is_some_and(|word| {
            let order = (Ordering::AcqRel, Ordering::Relaxed);
            word.compare_exchange(read, value, order.0, order.1).is_ok()
        })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is this long, page-aligned, and lives as long as self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for MappedWords {
    fn drop(&mut self) {
        // SAFETY: made by mmap with this length; nobody holds a reference to it any more.
        let result = unsafe { munmap(self.start.cast(), self.length * size_of::<u64>()) };
        if let Err(error) = result {
            tracing::warn!(%error, "cannot unmap a map");
        }
    }
}
