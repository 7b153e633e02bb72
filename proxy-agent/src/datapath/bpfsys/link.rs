//! Links: what ties a program to a hook until the last reference to the link is gone.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use super::{
    object,
    raw::{Command, IdAttr, bpf, bpf_fd},
};

/// Put the program before all others at its hook (`BPF_F_BEFORE` without a relative).
pub const FIRST: u32 = 1 << 3;

#[repr(C)]
#[derive(Default)]
struct CreateAttr {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    // struct tcx: what the order is relative to, and the revision that is expected.
    relative: u32,
    pad: u32,
    revision: u64,
}

#[repr(C)]
#[derive(Default)]
struct UpdateAttr {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// The first link that is such a one, of all that the kernel has, pinned or not. One that somebody is just making is none yet (EAGAIN,
/// <https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c#L5253>), one that goes meanwhile is none any more.
pub fn find(is: impl Fn(&object::LinkInfo) -> bool) -> io::Result<Option<OwnedFd>> {
    let gone = |error: &io::Error| error.raw_os_error() == Some(libc::ENOENT);
    let unmade = |error: &io::Error| error.raw_os_error() == Some(libc::EAGAIN);
    let mut id = 0;
    loop {
        let mut attr = IdAttr {
            id,
            ..IdAttr::default()
        };
        // SAFETY: the attribute holds no addresses.
        match unsafe { bpf(Command::LinkNextId, &mut attr) } {
            Err(error) if gone(&error) => return Ok(None),
            next => drop(next?),
        }
        id = attr.next;
        let mut attr = IdAttr {
            id,
            ..IdAttr::default()
        };
        // SAFETY: the attribute holds no addresses, and the call returns a descriptor.
        let link = match unsafe { bpf_fd(Command::LinkById, &mut attr) } {
            Err(error) if gone(&error) || unmade(&error) => continue,
            link => link?,
        };
        if is(&object::link_info(&link)?) {
            return Ok(Some(link));
        }
    }
}

/// Attaches a program; `target` is a descriptor or an interface index, as the attach type wants it.
pub fn create(
    program: impl AsFd,
    target: u32,
    attach_type: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attr = CreateAttr {
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        target,
        attach_type,
        flags,
        ..CreateAttr::default()
    };
    // SAFETY: the attribute holds no addresses, and the call returns a descriptor.
    unsafe { bpf_fd(Command::LinkCreate, &mut attr) }
}

/// Puts another program behind a link, in one step: every packet sees the old one or the new one.
pub fn update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let mut attr = UpdateAttr {
        link: link.as_fd().as_raw_fd().cast_unsigned(),
        program: program.as_fd().as_raw_fd().cast_unsigned(),
        ..UpdateAttr::default()
    };
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf(Command::LinkUpdate, &mut attr) }.map(drop)
}

/// Detaches at once, whoever still refers to the link.
pub fn detach(link: impl AsFd) -> io::Result<()> {
    let mut attr = link.as_fd().as_raw_fd().cast_unsigned();
    // SAFETY: the attribute holds no addresses.
    unsafe { bpf(Command::LinkDetach, &mut attr) }.map(drop)
}
