//! The XDP program of a link, in its driver.
//!
//! Never in the kernel's own place for it ("generic"): that is no faster than tc, which has the packet a moment later, and on
//! Linux 6.18 what it passed on came to programs of tc without its link header.

use std::{fs, io};

use aya::Ebpf;

use super::{
    hook::{describe, program_fd},
    pinned::{self, Target},
};
use crate::datapath::{
    bpfsys::{link, object},
    error::DatapathError,
    load,
    pins::Pins,
};

/// Name of the program.
const PROGRAM: &str = "from_wire";

/// `BPF_XDP` of `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;
/// `XDP_FLAGS_DRV_MODE` (`include/uapi/linux/if_link.h`).
const DRIVER: u32 = 1 << 2;

/// Name of the pinned link.
fn link_name(ifindex: u32) -> String {
    format!("{PROGRAM}-{ifindex}")
}

/// Attaches the program to an interface, or puts ours behind the link that is pinned. Why the kernel or the driver refuses is
/// the error's source.
pub(in crate::datapath) fn attach(
    ebpf: &mut Ebpf,
    pins: &Pins,
    ifindex: u32,
) -> Result<(), DatapathError> {
    load::ensure(ebpf, PROGRAM)?;
    let program = program_fd(ebpf, PROGRAM)?;
    let target = Target {
        number: ifindex,
        identity: u64::from(ifindex),
        attach_type: BPF_XDP,
        flags: DRIVER,
        takes_twins: false,
    };
    pinned::attach(&pins.link(&link_name(ifindex)), program, target).map_err(|source| {
        DatapathError::Attach {
            program: PROGRAM.to_owned(),
            target: describe(ifindex),
            source,
        }
    })
}

/// Whether the program is on an interface.
pub(in crate::datapath) fn is_attached(pins: &Pins, ifindex: u32) -> Result<bool, DatapathError> {
    let path = pins.link(&link_name(ifindex));
    match object::open_link(&path).and_then(object::link_info) {
        Ok(info) => Ok(pinned::identity(&info) == Some(u64::from(ifindex))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DatapathError::corrupt(path)(error)),
    }
}

/// Takes the program off an interface, at once: the kernel takes its time with a link that only loses its pin. Says whether it
/// was there.
pub(in crate::datapath) fn detach(pins: &Pins, ifindex: u32) -> Result<bool, DatapathError> {
    let path = pins.link(&link_name(ifindex));
    let opened = match object::open_link(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened,
    };
    let detached = opened.and_then(|opened| match link::detach(opened) {
        // Its interface is gone.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
        detached => detached,
    });
    detached
        .and_then(|()| fs::remove_file(&path))
        .map(|()| true)
        .map_err(DatapathError::file("detach the link", path))
}
