//! Self-healing: pins of maps that somebody has taken away, or has put something else in the place of, are made anew from the descriptors.

use std::{fs, io};

use super::{
    bpfsys::object,
    error::DatapathError,
    handle::MapHandle,
    maps::{Maps, PROGRAMS_OWN},
    pins::Pins,
    schema,
};

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
