//! Self-healing: pins of maps that somebody has taken away, or has put something else in the place of, are made anew from the descriptors.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    bpfsys::object,
    error::DatapathError,
    handle::MapHandle,
    maps::{Maps, PROGRAMS_OWN},
    pins::Pins,
    schema,
};

/// A folder of pins that is gone with all that was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostPins {
    /// It.
    pub folder: PathBuf,
    /// Another file system is at its place than when the agent began.
    pub is_elsewhere: bool,
}

impl LostPins {
    /// What it is called once it is back, with so many pins.
    pub fn words(&self, pins: usize) -> String {
        let anew = if self.is_elsewhere {
            ", on a BPF file system that somebody has mounted anew"
        } else {
            ""
        };
        format!("folder {} with {pins} pins{anew}", self.folder.display())
    }
}

/// Which file system is there; none if nothing is.
pub(super) fn mount(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|there| there.dev())
}

/// Maps that have no table, opened as long as their pins are there.
pub(super) fn open(pins: &Pins) -> Result<Vec<MapHandle>, DatapathError> {
    let open = |name: &&str| {
        let path = pins.map(name);
        let map = object::open_map(&path).and_then(|fd| MapHandle::new(name, fd));
        map.map_err(DatapathError::corrupt(&path))
    };
    PROGRAMS_OWN.iter().map(open).collect()
}

/// Pins again what is missing; names it.
pub(super) fn mend(
    pins: &Pins,
    maps: &Maps,
    others: &[MapHandle],
) -> Result<Vec<String>, DatapathError> {
    pins.create()?;
    let mut mended = schema::mend(pins)?;
    for handle in maps.handles().iter().chain(others) {
        let path = pins.map(handle.name());
        let pinned = object::open_map(&path).and_then(object::map_info);
        if pinned.is_ok_and(|pinned| pinned.id == handle.info().id) {
            continue;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DatapathError::file("unpin", &path)(error));
            }
            _ => {}
        }
        object::pin(&*handle.open(), &path).map_err(DatapathError::file("pin", &path))?;
        mended.push(handle.name().to_owned());
    }
    Ok(mended)
}
