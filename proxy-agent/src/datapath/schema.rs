//! Version skew: whether the pinned maps are ours to use: the schema, and what their makers declared of their contents, are compared before
//! anything is touched.

use std::{collections::BTreeMap, path::Path};

use proxy_common::{layout::SCHEMA, v1};

use super::{
    bpfsys::{
        map,
        object::{self, MapInfo},
    },
    error::DatapathError,
    kernel_table::KernelTable,
    pins::{self, Pins},
    table::Table as _,
};

pub mod declarations;

/// Value of the `meta` map: schema, and one number for all declarations of who made it.
pub(super) type Meta = [u64; 2];

/// More declarations than a version has.
const DECLARATIONS: u32 = 4096;

fn ours() -> Meta {
    [u64::from(SCHEMA), declarations::hash()]
}

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
            _ => check_declarations(pins)?,
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

/// What is pinned was declared as this version does, as far as both declare it.
fn check_declarations(pins: &Pins) -> Result<(), DatapathError> {
    let Some(pinned) = declared(pins)? else {
        return check_layout(pins, ours());
    };
    let ours = declarations::OURS.iter();
    let changed = ours.filter(|(name, hash)| {
        let pinned = pinned.get(&declarations::number(name));
        pinned.is_some_and(|pinned| pinned != *hash)
    });
    let changed: Vec<&str> = changed.map(|(name, _)| name.as_str()).collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(DatapathError::ChangedLayout {
        path: pins.folder(),
        changed: changed.join(", "),
    })
}

/// What those who used the maps declared, by number and hash of its text; none if nobody has noted it.
fn declared(pins: &Pins) -> Result<Option<BTreeMap<u64, u64>>, DatapathError> {
    let path = pins.declarations();
    if !path.exists() {
        return Ok(None);
    }
    let table = KernelTable::<u64, u64>::open(&path).map_err(DatapathError::corrupt(&path))?;
    Ok(Some(table.entries()?.into_iter().collect()))
}

/// Notes what this version declares.
fn declare(pins: &Pins) -> Result<(), DatapathError> {
    let path = pins.declarations();
    if !path.exists() {
        let info = MapInfo {
            kind: 1,
            key_size: 8,
            value_size: 8,
            max_entries: DECLARATIONS,
            ..MapInfo::default()
        };
        let made = map::create(&info).and_then(|map| object::pin(map, &path));
        made.map_err(DatapathError::file(
            "pin what maps are declared to hold at",
            &path,
        ))?;
    }
    let mut table = KernelTable::<u64, u64>::open(&path).map_err(DatapathError::corrupt(&path))?;
    for (name, hash) in &*declarations::OURS {
        table.set(&declarations::number(name), hash)?;
    }
    Ok(())
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

/// Pins schema and declarations.
pub(super) fn record(pins: &Pins) -> Result<(), DatapathError> {
    record_as(pins, ours())?;
    declare(pins)
}

/// Pins again what is missing of schema and declarations; names it.
pub(super) fn mend(pins: &Pins) -> Result<Vec<String>, DatapathError> {
    let all = [pins.meta(), pins.declarations()];
    let missing = all.iter().filter(|path| !path.exists());
    let names = missing.filter_map(|path| path.file_name());
    let names: Vec<String> = names.map(|n| n.to_string_lossy().into_owned()).collect();
    if !names.is_empty() {
        record(pins)?;
    }
    Ok(names)
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
