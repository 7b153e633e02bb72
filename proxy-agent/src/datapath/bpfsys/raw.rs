//! The system call itself.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    sync::atomic::{Ordering, fence},
};

/// Commands of `bpf(2)`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Command {
    MapCreate = 0,
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    MapNextKey = 4,
    ObjectPin = 6,
    ObjectGet = 7,
    ObjectInfo = 15,
    ProgramNextId = 11,
    ProgramById = 13,
    MapLookupBatch = 24,
    MapUpdateBatch = 26,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkById = 30,
    LinkNextId = 31,
    LinkDetach = 34,
}

/// Walks over the ids of a kind of objects, and opens one by its id.
#[repr(C)]
#[derive(Default)]
pub(super) struct IdAttr {
    pub(super) id: u32,
    pub(super) next: u32,
    pub(super) flags: u32,
}

/// Calls `bpf(2)`.
///
/// # Safety
///
/// `attr` must be laid out as the command wants it, and every address in it must be valid for what the
/// command does with it.
pub(super) unsafe fn bpf<T>(command: Command, attr: &mut T) -> io::Result<RawFd> {
    // A write is seen before the next one: plans rely on it, and processors such as arm64 let stores overtake each other.
    fence(Ordering::SeqCst);
    // SAFETY: attr is valid for reads and writes of its size; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as RawFd)
}

/// As [`bpf`], for commands that return a new descriptor.
///
/// # Safety
///
/// As for [`bpf`]; the command must return a descriptor.
pub(super) unsafe fn bpf_fd<T>(command: Command, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { bpf(command, attr) }?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A path as the kernel wants it.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// An address as it stands in `bpf_attr`.
pub(super) fn address<T>(pointer: *const T) -> u64 {
    pointer as u64
}
