//! Whether the pinned maps are ours to use: schema and layout hash are compared before anything is touched.

use std::path::Path;

use proxy_common::{
    layout::{HASH, SCHEMA},
    v1,
};

use super::{
    bpfsys::{map, object},
    error::DatapathError,
    pins::{self, Pins},
};

/// Value of the `meta` map: schema and layout hash.
pub(super) type Meta = [u64; 2];

const OURS: Meta = [SCHEMA as u64, HASH];

/// What is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or maps of our layout.
    Ours,
    /// Maps of an older schema that we know; beside them perhaps ours, to which an agent was about to go over.
    Older,
}

/// Compares what is pinned with this version. Changes nothing.
pub(super) fn check(pins: &Pins) -> Result<Found, DatapathError> {
    let ours = SCHEMA;
    let mut result = Found::Ours;
    for found in pins.schemas()? {
        let path = pins.schema(found);
        match found {
            _ if found > ours => return Err(DatapathError::NewerSchema { path, found, ours }),
            // A first start of that version, or a migration to it, that was cut off.
            v1::SCHEMA if is_unfinished(pins)? => {}
            v1::SCHEMA => {
                check_layout(&pins.of_schema(found), [u64::from(v1::SCHEMA), v1::HASH])?;
                result = Found::Older;
            }
            _ if found < ours => return Err(DatapathError::OlderSchema { path, found, ours }),
            _ => check_layout(pins, OURS)?,
        }
    }
    Ok(result)
}

fn check_layout(pins: &Pins, expected: Meta) -> Result<(), DatapathError> {
    let foreign = |found| DatapathError::ForeignLayout {
        path: pins.folder(),
        found,
        ours: expected[1],
    };
    match read(&pins.meta())? {
        Some(found) if found == expected => Ok(()),
        Some([_, hash]) => Err(foreign(format!("{hash:#018x}"))),
        // A first start that was cut off right after it had made the folders.
        None if no_maps(pins)? => Ok(()),
        None => Err(foreign("none".to_owned())),
    }
}

/// Whether what is pinned of schema 1 was never in force.
fn is_unfinished(pins: &Pins) -> Result<bool, DatapathError> {
    let old = pins.of_schema(v1::SCHEMA);
    let unnamed = read(&old.meta())?.is_none();
    Ok(no_maps(&old)? || unnamed && !no_maps(pins)?)
}

fn no_maps(pins: &Pins) -> Result<bool, DatapathError> {
    let folder = pins.maps();
    let names = pins::names(&folder).map_err(DatapathError::file("list", &folder))?;
    Ok(names.is_empty())
}

fn read(path: &Path) -> Result<Option<Meta>, DatapathError> {
    let fd = match object::open_map(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        fd => fd.map_err(DatapathError::corrupt(path))?,
    };
    let info = object::map_info(&fd).map_err(DatapathError::corrupt(path))?;
    if (info.key_size, info.value_size) != (4, size_of::<Meta>() as u32) {
        let source = std::io::Error::other("not a map of schema and layout");
        return Err(DatapathError::corrupt(path)(source));
    }
    map::lookup(&fd, &0_u32).map_err(DatapathError::corrupt(path))
}

/// Pins schema and layout hash, unless that is done.
pub(super) fn record(pins: &Pins) -> Result<(), DatapathError> {
    record_as(pins, OURS)
}

/// As [`record`], of a certain schema and layout.
pub(super) fn record_as(pins: &Pins, meta: Meta) -> Result<(), DatapathError> {
    let path = pins.meta();
    if read(&path)?.is_some() {
        return Ok(());
    }
    let write = || {
        let fd = map::create_array(size_of::<Meta>() as u32, 1)?;
        map::update(&fd, &0_u32, &meta)?;
        object::pin(&fd, &path)
    };
    write().map_err(DatapathError::file("pin the layout's hash at", &path))
}
