//! What the host's tools and files say.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::MIB;
use crate::ctl::tool::Call;

/// Bytes that are read of a file, at the most: more than is kept of any.
const READ: u64 = 8 * MIB as u64;
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
    Ok(whole_lines(bytes, end && length > READ))
}

/// Without the line that reading began in, or ended in: half a secret is not known for one.
fn whole_lines(mut bytes: Vec<u8>, from_within: bool) -> Vec<u8> {
    let is_end = |byte: &u8| *byte == b'\n';
    if from_within {
        let first = bytes
            .iter()
            .position(is_end)
            .map_or(bytes.len(), |end| end + 1);
        bytes.drain(..first);
    } else if bytes.len() as u64 == READ {
        let last = bytes.iter().rposition(is_end).map_or(0, |end| end + 1);
        bytes.truncate(last);
    }
    bytes
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_begins_and_ends_with_whole_lines() {
        let text = || b"one\ntwo\n".to_vec();
        assert_eq!(whole_lines(text(), false), text());
        assert_eq!(whole_lines(text(), true), b"two\n");
        let mut long = vec![b'x'; READ as usize];
        long[2] = b'\n';
        assert_eq!(whole_lines(long, false), b"xx\n");
    }
}
