//! Puts the plugin where the runtime looks for it.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// Name of the installed plugin: the `type` in the conflist.
pub const PLUGIN: &str = "weir";
/// Name of the plugin that sets `lo` up, which containerd before 2.4 calls for every pod.
const LOOPBACK: &str = "loopback";

/// What tells one installed file from another: device and inode, length, and seconds and nanoseconds of the last
/// change.
type Stamp = (u64, u64, u64, i64, i64);

/// What a folder of the runtime held when the plugin was installed there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed(Vec<Option<Stamp>>);

impl Installed {
    /// As it is now.
    pub fn look(bin_dir: &Path) -> Self {
        let stamp = |name: &str| {
            let meta = fs::metadata(bin_dir.join(name)).ok()?;
            let (second, nanosecond) = (meta.ctime(), meta.ctime_nsec());
            Some((meta.dev(), meta.ino(), meta.size(), second, nanosecond))
        };
        Self([PLUGIN, LOOPBACK].map(stamp).into())
    }

    /// Nobody has touched what was installed, and all of it is there.
    pub fn is_whole(&self, bin_dir: &Path) -> bool {
        self.0.iter().all(Option::is_some) && *self == Self::look(bin_dir) && !self.0.is_empty()
    }
}

/// Installs the plugin, and itself as `loopback` if there is none, or a former version of itself. Returns whether
/// anything was written.
pub fn binary(source: &Path, bin_dir: &Path) -> anyhow::Result<bool> {
    let (plugin, loopback) = (bin_dir.join(PLUGIN), bin_dir.join(LOOPBACK));
    let is_ours = match fs::read(&loopback) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        // Nobody's, if it is empty: somebody's disk was full.
        Ok(present) => {
            let is = |program: &Path| fs::read(program).is_ok_and(|bytes| bytes == present);
            present.is_empty() || is(&plugin) || is(source)
        }
    };
    // First, because what it was is known by what the plugin was.
    let mut written = false;
    if is_ours {
        written = copy(source, &loopback)?;
    }
    Ok(copy(source, &plugin)? || written)
}

/// Where the plugin is, unless configured: beside the agent.
pub fn source(configured: &Path) -> anyhow::Result<PathBuf> {
    if !configured.as_os_str().is_empty() {
        return Ok(configured.to_owned());
    }
    let agent = std::env::current_exe().context("find the agent's own program")?;
    Ok(agent.with_file_name("cni-plugin"))
}

/// Who may do what with a program.
const MODE: u32 = 0o755;

/// Whether the runtime can run it, and nobody but us can change it. An administrator may close it to others.
fn is_sound(program: &fs::Metadata) -> bool {
    let by_us = program.uid() == nix::unistd::geteuid().as_raw();
    program.is_file() && by_us && program.mode() & 0o722 == 0o700
}

/// Copies by rename, so that a runtime never meets half a program, nor one that is being written.
fn copy(source: &Path, to: &Path) -> anyhow::Result<bool> {
    let what = || format!("install {} as {}", source.display(), to.display());
    let wanted = fs::read(source).with_context(what)?;
    let is_sound = fs::symlink_metadata(to).is_ok_and(|found| is_sound(&found));
    match fs::read(to) {
        Ok(present) if is_sound && Sha256::digest(&present) == Sha256::digest(&wanted) => {
            return Ok(false);
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).with_context(what),
        _ => {}
    }
    replace(to, &wanted, MODE).with_context(what)?;
    tracing::info!(path = %to.display(), "plugin installed");
    Ok(true)
}

/// Writes a file beside its place, makes it durable and renames it there.
pub fn replace(to: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(".tmp");
    let beside = folder.join(name);
    let mut file = File::create(&beside)?;
    io::Write::write_all(&mut file, contents)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installs_once_and_replaces_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("cni-plugin");
        fs::write(&source, "one").unwrap();
        let bin = folder.path().join("bin");
        assert!(binary(&source, &bin).unwrap());
        assert!(!binary(&source, &bin).unwrap());
        fs::write(&source, "newer").unwrap();
        assert!(binary(&source, &bin).unwrap());
        assert_eq!(fs::read_to_string(bin.join("loopback")).unwrap(), "newer");
        fs::write(bin.join("loopback"), "another's").unwrap();
        fs::write(&source, "two").unwrap();
        assert!(binary(&source, &bin).unwrap());
        assert_eq!(fs::read_to_string(bin.join("weir")).unwrap(), "two");
        assert_eq!(
            fs::read_to_string(bin.join("loopback")).unwrap(),
            "another's"
        );
        let mode = fs::metadata(bin.join("weir")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(
            fs::read_dir(&bin).unwrap().count(),
            2,
            "a temporary file is left"
        );
    }

    #[test]
    fn one_that_cannot_be_run_or_that_others_may_change_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (source, bin) = (folder.path().join("cni-plugin"), folder.path().join("bin"));
        fs::write(&source, "one").unwrap();
        assert!(binary(&source, &bin).unwrap());
        let mode = |name: &str| fs::metadata(bin.join(name)).unwrap().mode() & 0o7777;
        for name in [PLUGIN, LOOPBACK] {
            let set = |mode| {
                fs::set_permissions(bin.join(name), Permissions::from_mode(mode)).unwrap();
            };
            for bad in [0o644, 0o600, 0o400, 0o000, 0o777, 0o775] {
                let installed = Installed::look(&bin);
                set(bad);
                assert!(!installed.is_whole(&bin), "{name} {bad:o}");
                assert!(binary(&source, &bin).unwrap(), "{name} {bad:o}");
                assert_eq!(mode(name), MODE, "{name} {bad:o}");
            }
            for good in [0o700, 0o750, 0o755] {
                set(good);
                assert!(!binary(&source, &bin).unwrap(), "{name} {good:o}");
                assert_eq!(mode(name), good);
            }
        }
    }

    #[test]
    fn what_is_wiped_or_replaced_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (source, bin) = (folder.path().join("cni-plugin"), folder.path().join("bin"));
        fs::write(&source, "one").unwrap();
        assert!(!Installed::default().is_whole(&bin));
        binary(&source, &bin).unwrap();
        let installed = Installed::look(&bin);
        assert!(installed.is_whole(&bin));
        for name in ["weir", "loopback"] {
            fs::remove_file(bin.join(name)).unwrap();
            assert!(!installed.is_whole(&bin), "{name} is gone");
            assert!(!Installed::look(&bin).is_whole(&bin), "{name} is gone");
            fs::write(bin.join(name), "another's").unwrap();
            assert!(!installed.is_whole(&bin), "{name} is another");
        }
    }
}
