//! An open map: its name, its descriptor and what the kernel says about it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::{
    bpfsys::object::{self, MapInfo},
    following::{Following, Next},
    tally::Tally,
};

/// An open map, which may be exchanged for another of the same types. Cheap to clone: clones are exchanged together.
#[derive(Clone, Debug)]
pub struct MapHandle {
    name: Arc<str>,
    current: Arc<ArcSwap<OpenMap>>,
    following: Arc<Following<OpenMap>>,
}

/// A map, open as long as this lives.
#[derive(Debug)]
pub struct OpenMap {
    fd: OwnedFd,
    info: MapInfo,
    /// Its entries, if only we write to it.
    pub(super) tally: Tally,
    /// The kernel has no batches of writes to it.
    no_batches: AtomicBool,
}

/// How a map is to be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// Keys of any kind.
    Hash,
    /// As `Hash`, evicting the least recently used.
    LruHash,
    /// Slots.
    Array,
    /// Slots per CPU.
    PerCpuArray,
    /// Prefixes.
    Prefix,
    /// Values on sockets.
    SocketStorage,
    /// Another kind, by its number.
    Other(u32),
}

impl MapKind {
    /// From `BPF_MAP_TYPE_*`.
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Hash,
            2 => Self::Array,
            6 => Self::PerCpuArray,
            9 => Self::LruHash,
            11 => Self::Prefix,
            24 => Self::SocketStorage,
            other => Self::Other(other),
        }
    }

    /// The kernel's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::LruHash => "lru_hash",
            Self::Array => "array",
            Self::PerCpuArray => "percpu_array",
            Self::Prefix => "lpm_trie",
            Self::SocketStorage => "sk_storage",
            Self::Other(_) => "other",
        }
    }
}

impl OpenMap {
    /// Asks the kernel about an open map.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let info = object::map_info(&fd)?;
        Ok(Self {
            fd,
            info,
            tally: Tally::default(),
            no_batches: AtomicBool::new(false),
        })
    }

    /// What the kernel says about it.
    pub const fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Whether it is worth to try to write many entries at once.
    pub(super) fn batches(&self) -> bool {
        !self.no_batches.load(Ordering::Relaxed)
    }

    /// The kernel has refused to.
    pub(super) fn has_no_batches(&self) {
        self.no_batches.store(true, Ordering::Relaxed);
    }
}

impl AsFd for OpenMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl MapHandle {
    /// Of a map of this name.
    pub(super) fn new(name: &str, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            name: name.into(),
            current: Arc::new(ArcSwap::from_pointee(OpenMap::new(fd)?)),
            following: Arc::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The map as it is now.
    pub fn open(&self) -> Arc<OpenMap> {
        self.current.load_full()
    }

    /// What the kernel says about it.
    pub fn info(&self) -> MapInfo {
        self.current.load().info
    }

    /// Its kind.
    pub fn kind(&self) -> MapKind {
        MapKind::from_number(self.info().kind)
    }

    /// Puts another map in its place, for all clones. Nothing follows it any more.
    pub(super) fn exchange(&self, fd: OwnedFd) -> io::Result<()> {
        let other = Arc::new(OpenMap::new(fd)?);
        let mut next = self.following.write();
        self.current.store(other);
        *next = None;
        Ok(())
    }

    /// What follows it.
    pub(super) fn following(&self) -> &Following<OpenMap> {
        &self.following
    }

    /// Writes to it alone, with leave.
    pub(super) fn write_alone<T>(
        &self,
        _: &mut Option<Next<OpenMap>>,
        write: impl FnOnce(&OpenMap) -> T,
    ) -> T {
        let map = self.open();
        let written = write(&map);
        map.tally.wrote();
        written
    }

    /// Refuses types that are not as large as the map's: the kernel copies by the map's sizes.
    pub(super) fn check_sizes(&self, key: usize, value: usize) -> io::Result<()> {
        let info = self.info();
        if (info.key_size as usize, info.value_size as usize) == (key, value) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "map {} has keys of {} and values of {} bytes, not {key} and {value}",
            self.name(),
            info.key_size,
            info.value_size
        )))
    }
}
