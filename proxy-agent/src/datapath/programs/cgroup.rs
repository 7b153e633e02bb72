//! The socket programs, attached to a cgroup and so to every process below it.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::Path,
};

use aya::Ebpf;

use super::pinned::{self, Target};
use crate::datapath::{bpfsys::object, error::DatapathError, pins::Pins};

/// Programs and their attach types (`enum bpf_attach_type`). What undoes a translation comes before what
/// makes one, so that no socket ever sees half of it.
const HOOKS: [(&str, u32); 4] = [
    ("getpeername4", 29),
    ("getpeername6", 30),
    ("connect4", 10),
    ("connect6", 11),
];

/// The socket programs that are not attached to a cgroup.
pub(in crate::datapath) fn missing(
    pins: &Pins,
    cgroup: &Path,
) -> Result<Vec<&'static str>, DatapathError> {
    let metadata = std::fs::metadata(cgroup);
    let identity = metadata.map_err(DatapathError::file("stat", cgroup))?.ino();
    let mut missing = Vec::new();
    for (name, _) in HOOKS {
        let path = pins.link(name);
        match object::open_link(&path).and_then(object::link_info) {
            Ok(info) if pinned::identity(&info) == Some(identity) => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DatapathError::corrupt(path)(error));
            }
            _ => missing.push(name),
        }
    }
    Ok(missing)
}

/// Attaches the socket programs to a cgroup, or puts ours behind the links that are pinned.
pub(in crate::datapath) fn attach(
    ebpf: &Ebpf,
    pins: &Pins,
    cgroup: &Path,
) -> Result<(), DatapathError> {
    let folder = File::open(cgroup).map_err(DatapathError::file("open the cgroup", cgroup))?;
    // A cgroup's id is its inode number (kernfs, 64-bit).
    let metadata = folder.metadata();
    let identity = metadata.map_err(DatapathError::file("stat", cgroup))?.ino();
    for (name, attach_type) in HOOKS {
        let target = Target {
            number: folder.as_raw_fd().cast_unsigned(),
            identity,
            attach_type,
            flags: 0,
            takes_twins: true,
        };
        let program = super::hook::program_fd(ebpf, name)?;
        pinned::attach(&pins.link(name), program, target).map_err(|source| {
            DatapathError::Attach {
                program: name.to_owned(),
                target: cgroup.display().to_string(),
                source,
            }
        })?;
    }
    Ok(())
}
