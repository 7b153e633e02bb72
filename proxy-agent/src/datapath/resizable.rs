//! Maps that others of the same types may take the place of, while whoever writes them goes on.

use std::{fmt::Debug, io, os::fd::OwnedFd};

use aya::Pod;

use super::{
    bpfsys::map,
    clock,
    drops::Drops,
    error::DatapathError,
    flows::Flows,
    following::Next,
    handle::{MapKind, OpenMap},
    kernel_table::KernelTable,
    kernel_words::KernelWords,
    table::{Cursor, Table as _, TableError},
};

/// Entries that are copied while who writes the map waits: some tenths of a millisecond.
const PIECE: usize = 256;

/// A map that another one of the same types may take the place of.
pub(super) trait Resizable: Sync {
    /// The least capacity that all its entries fit in, where they are.
    fn reach(&self) -> Result<u32, TableError>;
    /// Has another map follow: what is written from now on is written to both.
    fn follow(&self, other: OwnedFd) -> io::Result<()>;
    /// Brings the map that follows in step, piece by piece, with what was written before, and with what programs write.
    fn refresh(&self) -> Result<(), DatapathError>;
    /// Why the map that follows is not filled as it should be, but for want of room; once.
    fn failure(&self) -> Option<io::Error> {
        None
    }
    /// From now on a write that the map which follows does not take is refused; false if there was one, and then nothing changes.
    fn make_firm(&self) -> bool;
    /// Nothing follows any more.
    fn unfollow(&self);
    /// Adds to another map, which programs write to already, what they have written to this one and is not there.
    fn add_to(&self, _: OwnedFd) -> Result<(), DatapathError> {
        Ok(())
    }
    /// Puts another map in the place of this one. Nothing follows it any more.
    fn exchange(&self, other: OwnedFd) -> io::Result<()>;
}

impl<K: Pod + Debug + Ord, V: Pod + Debug + PartialEq> KernelTable<K, V> {
    /// Does something for each piece of the entries of one of two maps: of this one, or of `theirs`, the one that follows. Who writes
    /// waits for no more than a piece.
    fn pieces(
        &self,
        theirs: bool,
        mut each: impl FnMut(&OpenMap, &mut Next<OpenMap>, &[(K, V)]) -> io::Result<()>,
    ) -> Result<(), TableError> {
        let failed = |error| self.error("copy", None, error);
        let mut cursor = Cursor::default();
        while !cursor.done {
            let mut guard = self.map.following().piece();
            let Some(next) = &mut *guard else {
                return Ok(());
            };
            let ours = self.map.open();
            let from = if theirs { &next.map } else { &*ours };
            let entries = Self::read_page(from, &mut cursor, PIECE).map_err(failed)?;
            each(&ours, next, &entries).map_err(failed)?;
        }
        Ok(())
    }

    /// What differs in the map that follows, or is not there. Of arrays slots beyond a smaller one are of no use; of prefixes the
    /// kernel does not say what is there.
    fn copy(&self) -> Result<(), TableError> {
        let kind = self.map.kind();
        self.pieces(false, |_, next, entries| {
            let slots = match kind {
                MapKind::Array => next.map.info().max_entries,
                _ => u32::MAX,
            };
            for (key, value) in entries.iter().filter(|(key, _)| index(key, kind) < slots) {
                let same = kind != MapKind::Prefix
                    && map::lookup::<K, V>(&next.map, key)?.as_ref() == Some(value);
                if !same {
                    next.write(|next| map::update(next, key, value))?;
                }
            }
            Ok(())
        })
    }

    /// What programs have removed, or the kernel has evicted.
    fn remove_stale(&self) -> Result<(), TableError> {
        self.pieces(true, |ours, next, entries| {
            for (key, _) in entries {
                if map::lookup::<K, V>(ours, key)?.is_none() {
                    next.write(|next| map::delete(next, key))?;
                }
            }
            Ok(())
        })
    }
}

impl<K, V> Resizable for KernelTable<K, V>
where
    K: Pod + Debug + Ord,
    V: Pod + Debug + PartialEq,
{
    /// Slots of an array keep their numbers.
    fn reach(&self) -> Result<u32, TableError> {
        let entries = self.entries()?;
        let kind = self.map.kind();
        if kind != MapKind::Array {
            return Ok(entries.len() as u32);
        }
        let last = entries.iter().map(|(key, _)| index(key, kind)).max();
        Ok(last.map_or(0, |index| index + 1))
    }

    fn follow(&self, other: OwnedFd) -> io::Result<()> {
        self.map.following().begin(OpenMap::new(other)?);
        Ok(())
    }

    fn refresh(&self) -> Result<(), DatapathError> {
        self.copy()?;
        if matches!(self.map.kind(), MapKind::Hash | MapKind::LruHash) {
            self.remove_stale()?;
        }
        Ok(())
    }

    fn failure(&self) -> Option<io::Error> {
        self.map.following().failure()
    }

    fn make_firm(&self) -> bool {
        self.map.following().make_firm()
    }

    fn unfollow(&self) {
        self.map.following().end();
    }

    fn add_to(&self, other: OwnedFd) -> Result<(), DatapathError> {
        if self.map.kind() != MapKind::LruHash {
            return Ok(());
        }
        let mut cursor = Cursor::default();
        while !cursor.done {
            // Who removes an entry meanwhile removes it from both.
            let _held = self.map.following().piece();
            for (key, value) in self.page(&mut cursor, PIECE)? {
                let added = map::insert(&other, &key, &value);
                added.map_err(|e| self.error("copy", Some(&key), e))?;
            }
        }
        Ok(())
    }

    fn exchange(&self, other: OwnedFd) -> io::Result<()> {
        self.map.exchange(other)
    }
}

impl Resizable for KernelWords {
    fn reach(&self) -> Result<u32, TableError> {
        Ok(Self::reach(self))
    }

    fn follow(&self, other: OwnedFd) -> io::Result<()> {
        Self::follow(self, other)
    }

    fn refresh(&self) -> Result<(), DatapathError> {
        Self::refresh(self);
        Ok(())
    }

    fn make_firm(&self) -> bool {
        self.following().make_firm()
    }

    fn unfollow(&self) {
        self.following().end();
    }

    fn exchange(&self, other: OwnedFd) -> io::Result<()> {
        Self::exchange(self, other)
    }
}

/// Flows are moved by `migrate::flows`: which slot a flow has does not matter.
impl Resizable for Flows {
    fn reach(&self) -> Result<u32, TableError> {
        // Others give way.
        Ok(self.usage(clock::seconds()).assured)
    }

    fn follow(&self, _: OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn refresh(&self) -> Result<(), DatapathError> {
        Ok(())
    }

    fn make_firm(&self) -> bool {
        true
    }

    fn unfollow(&self) {}

    fn exchange(&self, other: OwnedFd) -> io::Result<()> {
        Self::exchange(self, other)
    }
}

/// As large as the object says, always.
impl Resizable for Drops {
    fn reach(&self) -> Result<u32, TableError> {
        Ok(0)
    }

    fn follow(&self, _: OwnedFd) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn refresh(&self) -> Result<(), DatapathError> {
        Ok(())
    }

    fn make_firm(&self) -> bool {
        true
    }

    fn unfollow(&self) {}

    fn exchange(&self, _: OwnedFd) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

/// The number of a slot, which is what keys of an array are; nothing stands beyond the end of other maps.
fn index<K: Pod>(key: &K, kind: MapKind) -> u32 {
    let bytes = map::bytes_of(key).first_chunk().copied();
    match kind {
        MapKind::Array => bytes.map_or(0, u32::from_ne_bytes),
        _ => 0,
    }
}
