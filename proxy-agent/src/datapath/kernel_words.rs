//! [`Words`] over an array map in the kernel, mapped into our memory.

use std::{io, sync::Arc};

use super::{bpfsys::words::MappedWords, handle::MapHandle, words::Words};

/// Words in the kernel. Clones share the mapping.
#[derive(Clone, Debug)]
pub struct KernelWords {
    map: MapHandle,
    words: Arc<MappedWords>,
}

impl KernelWords {
    /// Maps an array of words.
    pub(super) fn new(map: MapHandle) -> io::Result<Self> {
        map.check_sizes(size_of::<u32>(), size_of::<u64>())?;
        let words = MappedWords::new(&map, map.info().max_entries as usize)?;
        Ok(Self {
            map,
            words: Arc::new(words),
        })
    }
}

impl Words for KernelWords {
    fn len(&self) -> u32 {
        self.map.info().max_entries
    }

    fn get(&self, index: u32) -> u64 {
        self.words.load(index as usize).unwrap_or(0)
    }

    fn set(&mut self, index: u32, word: u64) {
        self.words.store(index as usize, word);
    }
}
