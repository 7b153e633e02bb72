//! `cni.log`: what the plugin has said on this node. Runtimes throw its standard error away when a call succeeds.
//!
//! One JSON object per line, two files of at most [`LIMIT`] bytes. Nothing depends on it: a log that cannot be
//! written (a full disk) is given up without a word, for there is nobody to say it to.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Size at which the file becomes the former one.
pub const LIMIT: u64 = 256 << 10;
/// Longest text of an entry.
const LONGEST: usize = 2000;

/// One entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Entry {
    /// Milliseconds since 1970, for people: nothing is decided by it.
    pub at: u64,
    /// `CNI_COMMAND`.
    pub verb: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// Namespace and name of the pod, if the runtime said.
    pub pod: String,
    /// What was said.
    pub text: String,
}

/// Appends an entry, if the folder of the log is there: a DEL leaves nothing where nothing was.
pub fn append(path: &Path, entry: &Entry) -> io::Result<()> {
    let mut entry = entry.clone();
    let cut = (0..=LONGEST.min(entry.text.len())).rev();
    let cut = cut.into_iter().find(|at| entry.text.is_char_boundary(*at));
    entry.text.truncate(cut.unwrap_or(0));
    entry.at = milliseconds();
    let mut file = File::options()
        .create(true)
        .append(true)
        .read(true)
        .open(path)?;
    if file.metadata()?.len() > LIMIT {
        rotate(path, file)?;
        file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
    }
    let mut line = serde_json::to_vec(&entry)?;
    line.push(b'\n');
    if is_torn(&mut file)? {
        line.insert(0, b'\n');
    }
    // In one write, so that lines of calls at the same time do not mix.
    file.write_all(&line)
}

fn milliseconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Whether the last line has no end: the disk was full.
fn is_torn(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}

/// The first who locks the full file moves it away; the others find a new one.
fn rotate(path: &Path, full: File) -> io::Result<()> {
    let held = Flock::lock(full, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    let (now, then) = (fs::metadata(path)?, held.metadata()?);
    let is_same = {
        use std::os::unix::fs::MetadataExt as _;
        now.ino() == then.ino() && now.dev() == then.dev()
    };
    if is_same {
        fs::rename(path, former(path))?;
    }
    Ok(())
}

/// Where the entries before the present file's are.
pub fn former(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

/// All entries, oldest first. Lines that are torn are passed over; absent files are empty.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for path in [former(path), path.to_owned()] {
        let text = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            text => text?,
        };
        let lines = text.split(|byte| *byte == b'\n');
        entries.extend(lines.filter_map(|line| serde_json::from_slice::<Entry>(line).ok()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry {
            verb: "DEL".into(),
            text: text.into(),
            ..Entry::default()
        }
    }

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cni.log");
        let long = "é".repeat(3000);
        for n in 0..600 {
            append(&path, &entry(&format!("{n} {long}"))).unwrap();
        }
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        let most = LIMIT + 2 * LONGEST as u64;
        assert!(size(&path) < most && size(&former(&path)) < most);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let entries = read(&path).unwrap();
        assert!(entries.len() > 100);
        let numbers = entries.iter().map(|e| e.text.split(' ').next().unwrap());
        let numbers: Vec<u32> = numbers.map(|n| n.parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]));
        assert_eq!(numbers.last(), Some(&599));
    }

    #[test]
    fn a_torn_line_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cni.log");
        append(&path, &entry("one")).unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"at\":1,\"ver").unwrap();
        append(&path, &entry("two")).unwrap();
        let texts: Vec<_> = read(&path).unwrap().into_iter().map(|e| e.text).collect();
        assert_eq!(texts, ["one", "two"]);
    }

    #[test]
    fn without_a_folder_or_room_it_only_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(append(&folder.path().join("absent/cni.log"), &entry("x")).is_err());
        assert!(append(Path::new("/dev/full"), &entry("x")).is_err());
        assert_eq!(read(&folder.path().join("cni.log")).unwrap(), []);
    }
}
