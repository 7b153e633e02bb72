//! What is attached, read from the pinned links: works without the agent.

use std::{fs, io};

use super::pinned::{identity, is_cgroup};
use crate::datapath::{
    bpfsys::object,
    error::DatapathError,
    pins::{self, Pins},
};

/// A pinned link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the pin.
    pub name: String,
    /// True for a cgroup, false for an interface.
    pub cgroup: bool,
    /// Id of the cgroup or index of the interface; 0 if it is gone.
    pub target: u64,
    /// Id of the link.
    pub link: u32,
    /// Id of the program behind it.
    pub program: u32,
}

/// All pinned links, in the order of their names.
pub(in crate::datapath) fn list(pins: &Pins) -> Result<Vec<Attachment>, DatapathError> {
    let folder = pins.links();
    let names = pins::names(&folder).map_err(DatapathError::file("list", &folder))?;
    let mut all = Vec::new();
    for name in names {
        let path = pins.link(&name);
        match read(&path) {
            Ok(attachment) => all.push(Attachment { name, ..attachment }),
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(DatapathError::CorruptPin { path, source }),
        }
    }
    Ok(all)
}

fn read(path: &std::path::Path) -> io::Result<Attachment> {
    let info = object::link_info(object::open_link(path)?)?;
    Ok(Attachment {
        name: String::new(),
        cgroup: is_cgroup(&info),
        target: identity(&info).unwrap_or(0),
        link: info.id,
        program: info.program,
    })
}

/// Unpins links whose interface or cgroup is gone; returns their names.
pub(in crate::datapath) fn sweep(pins: &Pins) -> Result<Vec<String>, DatapathError> {
    let dead = list(pins)?.into_iter().filter(|a| a.target == 0);
    let mut swept = Vec::new();
    for attachment in dead {
        let path = pins.link(&attachment.name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DatapathError::file("remove", path)(error));
            }
            _ => swept.push(attachment.name),
        }
    }
    Ok(swept)
}
