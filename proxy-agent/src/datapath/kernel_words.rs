//! [`Words`] over an array map in the kernel, mapped into our memory.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use arc_swap::ArcSwap;

use super::{
    bpfsys::words::MappedWords,
    following::Following,
    handle::{MapHandle, OpenMap},
    words::Words,
};

/// Words that are compared while who writes them waits: some microseconds.
const PIECE: usize = 16_384;

/// Words in the kernel. Clones share the mapping.
#[derive(Clone, Debug)]
pub struct KernelWords {
    map: MapHandle,
    words: Arc<ArcSwap<MappedWords>>,
    following: Arc<Following<MappedWords>>,
}

impl KernelWords {
    /// Maps an array of words.
    pub(super) fn new(map: MapHandle) -> io::Result<Self> {
        map.check_sizes(size_of::<u32>(), size_of::<u64>())?;
        let words = mapped(map.open(), map.info().max_entries)?;
        Ok(Self {
            words: Arc::new(ArcSwap::from_pointee(words)),
            following: Arc::default(),
            map,
        })
    }

    /// Has another array follow: see [`Following`].
    pub(super) fn follow(&self, other: OwnedFd) -> io::Result<()> {
        let length = OpenMap::new(other.try_clone()?)?.info().max_entries;
        self.following.begin(mapped(other, length)?);
        Ok(())
    }

    /// What follows it.
    pub(super) fn following(&self) -> &Following<MappedWords> {
        &self.following
    }

    /// Brings what follows in step, as far as that reaches, piece by piece.
    pub(super) fn refresh(&self) {
        let mut first = 0;
        while let Some(next) = &*self.following.piece() {
            let (ours, theirs) = (self.words.load(), &next.map);
            for index in first..theirs.len().min(first + PIECE) {
                let word = ours.load(index).unwrap_or(0);
                if theirs.load(index) != Some(word) {
                    theirs.store(index, word);
                }
            }
            first += PIECE;
            if first >= theirs.len() {
                return;
            }
        }
    }

    /// Puts another array in the place of this one. Nothing follows it any more.
    pub(super) fn exchange(&self, other: OwnedFd) -> io::Result<()> {
        let length = OpenMap::new(other.try_clone()?)?.info().max_entries;
        let words = Arc::new(mapped(&other, length)?);
        let mut next = self.following.write();
        self.map.exchange(other)?;
        self.words.store(words);
        *next = None;
        Ok(())
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
        let index = index as usize;
        let store = |words: &MappedWords| {
            // What is zero beyond the end is there.
            if words.store(index, word) || word == 0 {
                return Ok(());
            }
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        let mut next = self.following.write();
        // Words refuse nothing: where one is not there for programs that go by the other array already, they deny, and those that go
        // by this one still go by it.
        let followed = next.as_mut().map_or(Ok(()), |next| next.write(store));
        if let Err(error) = followed {
            let map = self.map.name();
            tracing::warn!(map, index, %error, "a word has no room in the array that takes the place of this one");
        }
        self.words.load().store(index, word);
    }
}
