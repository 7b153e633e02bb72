//! Garbage collection: files that a killed program left behind: temporary ones whose rename never came, tombstones that name nobody.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    paths::{Paths, key_of},
    protocol::error::Error,
};

/// Whoever writes a file renames it within a fraction of this.
const AGE: Duration = Duration::from_mins(1);

/// Removes them, goes on after errors and returns these. What is younger than a minute may be at work; and under the
/// lock no ADD or DEL is, should the calendar, by which files are dated, have jumped: what is dated later than in a minute is as old.
pub fn sweep(paths: &Paths, deadline: Instant) -> Vec<Error> {
    let mut errors = Vec::new();
    if !paths.root().exists() {
        return errors;
    }
    let _held = match crate::ledger::hold(paths, deadline) {
        Ok(held) => held,
        Err(e) => return vec![e],
    };
    for folder in [paths.root().to_owned(), paths.attachments()] {
        remove_old(&folder, is_temporary, &mut errors);
    }
    remove_old(
        &paths.tombstones(),
        |path| key_of(path).is_none(),
        &mut errors,
    );
    errors
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

fn remove_old(folder: &Path, is_left: impl Fn(&Path) -> bool, errors: &mut Vec<Error>) {
    let files = match files(folder) {
        Ok(files) => files,
        Err(e) => return errors.push(Error::io(format!("read {}", folder.display()), &e)),
    };
    for path in files
        .into_iter()
        .filter(|path| is_left(path) && is_old(path))
    {
        errors.extend(crate::ledger::remove(&path).err());
    }
}

/// The files of a folder, which may be absent.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// A file that is gone is nobody's to remove.
fn is_old(path: &Path) -> bool {
    let written = fs::metadata(path).and_then(|m| m.modified());
    written.is_ok_and(|at| {
        let age = SystemTime::now().duration_since(at);
        age.unwrap_or_else(|ahead| ahead.duration()) > AGE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_old_and_nobodys_goes() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path());
        let make = |path: PathBuf, seconds: i64| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "{").unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            let (now, by) = (
                SystemTime::now(),
                Duration::from_secs(seconds.unsigned_abs()),
            );
            let dated = if seconds < 0 { now + by } else { now - by };
            file.set_modified(dated).unwrap();
            path
        };
        let (root, att, gone) = (paths.root(), paths.attachments(), paths.tombstones());
        let left = [
            make(root.join(".ipam.json.7"), 90),
            make(att.join(".c:eth0.json.7"), 90),
            make(gone.join(".c:eth0.json.7"), 90),
            make(gone.join("nobody"), 90),
            make(root.join(".ipam.json.9"), -90),
        ];
        let kept = [
            make(root.join(".ipam.json.8"), 5),
            make(root.join(".ipam.json.10"), -5),
            make(root.join("ipam.json"), 90),
            make(att.join("c:eth0.json"), 90),
            make(gone.join("c:eth0.json"), 90),
            make(gone.join("nobody-yet"), 5),
        ];
        let soon = Instant::now() + Duration::from_secs(1);
        assert!(sweep(&paths, soon).is_empty());
        assert!(left.iter().all(|path| !path.exists()), "{left:?}");
        assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
        assert!(sweep(&Paths::new("/nonexistent"), soon).is_empty());
    }
}
