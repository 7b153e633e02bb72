//! An open map: its name, its descriptor and what the kernel says about it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use super::bpfsys::object::{self, MapInfo};

/// An open map. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MapHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    fd: OwnedFd,
    info: MapInfo,
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

impl MapHandle {
    /// Asks the kernel about an open map.
    pub(super) fn new(name: &str, fd: OwnedFd) -> io::Result<Self> {
        let info = object::map_info(&fd)?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                fd,
                info,
            }),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What the kernel says about it.
    pub fn info(&self) -> &MapInfo {
        &self.inner.info
    }

    /// Its kind.
    pub fn kind(&self) -> MapKind {
        MapKind::from_number(self.inner.info.kind)
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

impl AsFd for MapHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }
}
