//! Pins of maps, programs and links, and what the kernel says about them.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use super::raw::{Command, address, bpf, bpf_fd, c_path};

#[repr(C)]
#[derive(Default)]
struct PathAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct InfoAttr {
    fd: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_map_info`, its beginning.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MapInfo {
    /// `BPF_MAP_TYPE_*`.
    pub kind: u32,
    /// Id of this map, unique while the kernel runs.
    pub id: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Capacity.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
}

/// `struct bpf_link_info`, its beginning.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkInfo {
    /// `BPF_LINK_TYPE_*`.
    pub kind: u32,
    /// Id of this link.
    pub id: u32,
    /// Id of the program behind it.
    pub program: u32,
    pad: u32,
    /// TCX and XDP: the interface's index, 0 when it is gone, and the attach type. Cgroup: the two halves of
    /// the cgroup's id.
    pub target: [u32; 2],
    /// Cgroup: attach type.
    pub attach_type: u32,
    pad2: u32,
}

impl LinkInfo {
    /// Id of the cgroup that a cgroup link is attached to: its inode number; 0 when it is gone.
    pub fn cgroup(&self) -> u64 {
        u64::from(self.target[0]) | u64::from(self.target[1]) << 32
    }
}

/// Opens what is pinned at a path.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let name = c_path(path)?;
    let mut attr = PathAttr {
        path: address(name.as_ptr()),
        ..PathAttr::default()
    };
    // SAFETY: the path outlives the call, which returns a descriptor.
    unsafe { bpf_fd(Command::ObjectGet, &mut attr) }
}

/// Opens a pinned map; an error if it is something else that is pinned there.
pub fn open_map(path: &Path) -> io::Result<OwnedFd> {
    of_kind(open(path)?, "map")
}

/// Opens a pinned link; an error if it is something else that is pinned there.
pub fn open_link(path: &Path) -> io::Result<OwnedFd> {
    of_kind(open(path)?, "link")
}

/// What `bpf(2)` opened is known by the name of its inode only: `anon_inode:bpf-map`, `anon_inode:bpf_link`.
fn of_kind(fd: OwnedFd, kind: &str) -> io::Result<OwnedFd> {
    let name = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    if name.to_string_lossy().ends_with(kind) {
        return Ok(fd);
    }
    Err(io::Error::other(format!(
        "{} is pinned there, not a {kind}",
        name.display()
    )))
}

/// Pins a map, program or link at a path.
pub fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let name = c_path(path)?;
    let mut attr = PathAttr {
        path: address(name.as_ptr()),
        fd: object.as_fd().as_raw_fd().cast_unsigned(),
        flags: 0,
    };
    // SAFETY: the path outlives the call.
    unsafe { bpf(Command::ObjectPin, &mut attr) }.map(drop)
}

/// What the kernel says about a map.
pub fn map_info(map: impl AsFd) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    // SAFETY: MapInfo is made of integers.
    unsafe { read_info(map, &mut info) }?;
    Ok(info)
}

/// What the kernel says about a link.
pub fn link_info(link: impl AsFd) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    // SAFETY: LinkInfo is made of integers.
    unsafe { read_info(link, &mut info) }?;
    Ok(info)
}

/// Asks for what the kernel says about an object.
///
/// # Safety
///
/// Every byte pattern must be a valid `T`, and every address in it valid for what the kernel writes there.
pub(super) unsafe fn read_info<T>(object: impl AsFd, info: &mut T) -> io::Result<()> {
    let mut attr = InfoAttr {
        fd: object.as_fd().as_raw_fd().cast_unsigned(),
        length: size_of::<T>() as u32,
        info: address(std::ptr::from_mut(info)),
    };
    // SAFETY: info is valid for writes of the length given; the rest is the caller's promise.
    unsafe { bpf(Command::ObjectInfo, &mut attr) }.map(drop)
}
