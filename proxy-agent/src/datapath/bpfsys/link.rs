//! Links: what ties a program to a hook until the last reference to the link is gone.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use super::raw::{Command, bpf, bpf_fd};

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
