//! The XDP program of a link. Its pinned link bears the mode in its name, for the kernel does not tell it.

use std::{fmt, fs, io};

use aya::Ebpf;

use super::{
    hook::{describe, program_fd},
    pinned::{self, Target},
};
use crate::datapath::{
    bpfsys::{link, object},
    error::DatapathError,
    pins::Pins,
};

/// Name of the program.
const PROGRAM: &str = "from_wire";

/// `BPF_XDP` of `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;
/// `XDP_FLAGS_SKB_MODE` (`include/uapi/linux/if_link.h`).
const SKB_MODE: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const DRV_MODE: u32 = 1 << 2;

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel, once it has made a packet of the frame: no faster, but everywhere.
    Generic,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

impl XdpMode {
    const ALL: [Self; 2] = [Self::Native, Self::Generic];

    /// Name of the pinned link.
    fn link(self, ifindex: u32) -> String {
        match self {
            Self::Native => format!("{PROGRAM}-{ifindex}"),
            Self::Generic => format!("{PROGRAM}-{ifindex}-generic"),
        }
    }

    fn target(self, ifindex: u32) -> Target {
        Target {
            number: ifindex,
            identity: u64::from(ifindex),
            attach_type: BPF_XDP,
            flags: match self {
                Self::Native => DRV_MODE,
                Self::Generic => SKB_MODE,
            },
        }
    }
}

/// Attaches the program to an interface, in this mode alone, or puts ours behind the link that is pinned. Why the kernel or
/// the driver refuses is the error's source.
pub(in crate::datapath) fn attach(
    ebpf: &Ebpf,
    pins: &Pins,
    ifindex: u32,
    mode: XdpMode,
) -> Result<(), DatapathError> {
    for other in XdpMode::ALL.into_iter().filter(|other| *other != mode) {
        release(pins, ifindex, other)?;
    }
    let program = program_fd(ebpf, PROGRAM)?;
    let path = pins.link(&mode.link(ifindex));
    pinned::attach(&path, program, mode.target(ifindex)).map_err(|source| DatapathError::Attach {
        program: PROGRAM.to_owned(),
        target: describe(ifindex),
        source,
    })
}

/// Whether the program is on an interface in this mode.
pub(in crate::datapath) fn is_attached(
    pins: &Pins,
    ifindex: u32,
    mode: XdpMode,
) -> Result<bool, DatapathError> {
    let path = pins.link(&mode.link(ifindex));
    match object::open_link(&path).and_then(object::link_info) {
        Ok(info) => Ok(pinned::identity(&info) == Some(u64::from(ifindex))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DatapathError::corrupt(path)(error)),
    }
}

/// Takes the program off an interface; says whether it was there.
pub(in crate::datapath) fn detach(pins: &Pins, ifindex: u32) -> Result<bool, DatapathError> {
    let mut was_there = false;
    for mode in XdpMode::ALL {
        was_there |= release(pins, ifindex, mode)?;
    }
    Ok(was_there)
}

/// At once, for the kernel takes its time with a link that only loses its pin, and lets nobody else attach meanwhile.
fn release(pins: &Pins, ifindex: u32, mode: XdpMode) -> Result<bool, DatapathError> {
    let path = pins.link(&mode.link(ifindex));
    let released = match object::open_link(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.and_then(|opened| {
            match link::detach(opened) {
                // Its interface is gone.
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
                detached => detached?,
            }
            fs::remove_file(&path)
        }),
    };
    released
        .map(|()| true)
        .map_err(DatapathError::file("detach the link", path))
}
