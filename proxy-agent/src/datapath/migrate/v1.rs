//! From schema 1 and back. Maps that are alike in both are shared, not copied: whatever either version's programs or agent
//! write, the other finds.

mod descent;
mod down;
mod entries;
mod flows;
mod lists;
mod node;
mod up;

pub(in crate::datapath) use up::{discard, finish, retire, up};

pub use down::{Handover, down};

use std::{fs, path::Path};

use crate::datapath::{
    bpfsys::object::{self, MapInfo},
    error::DatapathError,
    load,
};

/// Maps that both schemas have under one name, but with entries that mean something else.
const CHANGED: [&str; 5] = [
    "ENDPOINTS",
    "LOCAL_PODS4",
    "LOCAL_PODS6",
    "NODE_CONFIG",
    "INTERVALS",
];

/// Pins a map at a second path too, if it is one that the other schema has just so.
fn share(
    name: &str,
    from: &Path,
    to: &Path,
    wanted: Option<&MapInfo>,
) -> Result<bool, DatapathError> {
    let Some(found) = load::pinned(from)? else {
        return Ok(false);
    };
    let alike = |wanted: &MapInfo| {
        let sizes = |info: &MapInfo| (info.kind, info.key_size, info.value_size, info.flags);
        sizes(wanted) == sizes(&found)
    };
    if CHANGED.contains(&name) || !wanted.is_none_or(alike) {
        return Ok(false);
    }
    let map = object::open_map(from).map_err(DatapathError::corrupt(from))?;
    object::pin(&map, to).map_err(DatapathError::file("pin", to))?;
    Ok(true)
}

/// A folder, empty.
fn empty(folder: &Path) -> Result<(), DatapathError> {
    crate::datapath::pins::discard(folder)?;
    fs::create_dir_all(folder).map_err(DatapathError::file("create", folder))
}

/// Puts a folder in the place of an empty one.
fn publish(building: &Path, maps: &Path) -> Result<(), DatapathError> {
    crate::datapath::pins::discard(maps)?;
    fs::rename(building, maps).map_err(DatapathError::file("rename", building))
}
