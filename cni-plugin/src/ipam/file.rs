//! The file of the addresses.

use std::{fs, io, path::Path};

use serde::Serialize;

use super::State;

impl State {
    /// Reads the state of this boot. `None`: absent, of another boot, or broken (a disk that was full).
    pub fn read(path: &Path, boot_id: &str) -> io::Result<Option<Self>> {
        let text = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        Ok(serde_json::from_slice::<Self>(&text)
            .ok()
            .filter(|state| state.boot_id == boot_id))
    }

    /// Writes the state in one step.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_json(path, self)
    }
}

/// Writes a document beside its place and renames it there. The folder is on tmpfs: no fsync. The name of
/// the temporary file is fixed by the process, so that a killed one leaves at most one behind.
pub fn write_json<T: Serialize>(path: &Path, document: &T) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written =
        fs::write(&beside, serde_json::to_vec(document)?).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What counts is why it could not be written; a left-over is swept later (`leftovers`).
        drop(fs::remove_file(&beside));
    }
    written
}
