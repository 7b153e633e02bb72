//! [`Words`] over an array map in the kernel, mapped into our memory.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use arc_swap::ArcSwap;

use super::{bpfsys::words::MappedWords, handle::MapHandle, words::Words};

/// Words in the kernel. Clones share the mapping.
#[derive(Clone, Debug)]
pub struct KernelWords {
    map: MapHandle,
    words: Arc<ArcSwap<MappedWords>>,
}

impl KernelWords {
    /// Maps an array of words.
    pub(super) fn new(map: MapHandle) -> io::Result<Self> {
        map.check_sizes(size_of::<u32>(), size_of::<u64>())?;
        let words = mapped(map.open(), map.info().max_entries)?;
        Ok(Self {
            words: Arc::new(ArcSwap::from_pointee(words)),
            map,
        })
    }

    /// Brings another array in step with this one, as far as that reaches; gives how many words differed.
    pub(super) fn copy_to(&self, other: OwnedFd) -> io::Result<usize> {
        let length = MapHandle::new(self.map.name(), other.try_clone()?)?
            .info()
            .max_entries;
        let (ours, theirs) = (self.words.load(), mapped(other, length)?);
        let mut writes = 0;
        for index in 0..theirs.len() {
            let word = ours.load(index).unwrap_or(0);
            if theirs.load(index) != Some(word) {
                theirs.store(index, word);
                writes += 1;
            }
        }
        Ok(writes)
    }

    /// Puts another array in the place of this one.
    pub(super) fn exchange(&self, other: OwnedFd) -> io::Result<()> {
        self.map.exchange(other)?;
        let words = mapped(self.map.open(), self.map.info().max_entries)?;
        self.words.store(Arc::new(words));
        Ok(())
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.map.name()
    }

    /// One more than the index of the last word that is not zero.
    pub(super) fn reach(&self) -> u32 {
        let words = self.words.load();
        let last = (0..words.len())
            .rev()
            .find(|index| words.load(*index) != Some(0));
        last.map_or(0, |index| index as u32 + 1)
    }
}

fn mapped(map: impl AsFd, length: u32) -> io::Result<MappedWords> {
    MappedWords::new(map, length as usize)
}

impl Words for KernelWords {
    fn len(&self) -> u32 {
        self.words.load().len() as u32
    }

    fn get(&self, index: u32) -> u64 {
        self.words.load().load(index as usize).unwrap_or(0)
    }

    fn set(&mut self, index: u32, word: u64) {
        self.words.load().store(index as usize, word);
    }
}
