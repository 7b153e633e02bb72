//! What the host's tools and files say.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::MIB;
use crate::ctl::tool::Call;

/// Bytes that are read of a file, at the most: more than is kept of any.
const READ: u64 = 16 * MIB as u64;
/// How deep folders of settings lie.
const DEPTH: usize = 8;

/// What a tool prints.
pub(super) fn tool(words: &[&str]) -> Result<Vec<u8>, String> {
    match Call::new(words).output() {
        Ok(Some(text)) => Ok(text.into_bytes()),
        Ok(None) => Err(format!("there is no {} here", words.first().unwrap_or(&""))),
        Err(error) => Err(error.message),
    }
}

/// The beginning of a file.
pub(super) fn file(path: &Path) -> Result<Vec<u8>, String> {
    read(path, false)
}

/// The end of a file.
pub(super) fn end(path: &Path) -> Result<Vec<u8>, String> {
    read(path, true)
}

fn read(path: &Path, end: bool) -> Result<Vec<u8>, String> {
    let failed = |error| format!("read {}: {error}", path.display());
    let mut file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let length = file.metadata().map_err(failed)?.len();
    if end && length > READ {
        file.seek(SeekFrom::Start(length - READ)).map_err(failed)?;
    }
    file.take(READ).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Every setting below a folder, one a line. What cannot be read has no value.
pub(super) fn sysctls(folder: &Path) -> Vec<u8> {
    let mut text = String::new();
    walk(folder, folder, DEPTH, &mut text);
    text.into_bytes()
}

fn walk(root: &Path, folder: &Path, depth: usize, text: &mut String) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && depth > 0 {
            walk(root, &path, depth - 1, text);
        } else if let Ok(value) = fs::read_to_string(&path) {
            let key = path.strip_prefix(root).unwrap_or(&path).display();
            text.extend([&key.to_string(), " = ", value.trim(), "\n"]);
        }
    }
}
