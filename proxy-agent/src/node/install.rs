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

/// Installs the plugin, and itself as `loopback` if there is none. Returns whether anything was written.
pub fn binary(source: &Path, bin_dir: &Path) -> anyhow::Result<bool> {
    let installed = copy(source, &bin_dir.join(PLUGIN))?;
    let loopback = bin_dir.join("loopback");
    if !loopback.exists() {
        copy(source, &loopback)?;
    }
    Ok(installed)
}

/// What tells one installed file from another: inode, length, and seconds and nanoseconds of the last change.
pub type Stamp = (u64, u64, i64, i64);

/// That of the installed plugin, if it is there.
pub fn stamp(bin_dir: &Path) -> Option<Stamp> {
    let file = fs::metadata(bin_dir.join(PLUGIN)).ok()?;
    Some((file.ino(), file.len(), file.ctime(), file.ctime_nsec()))
}

/// Where the plugin is, unless configured: beside the agent.
pub fn source(configured: &Path) -> anyhow::Result<PathBuf> {
    if !configured.as_os_str().is_empty() {
        return Ok(configured.to_owned());
    }
    let agent = std::env::current_exe().context("find the agent's own program")?;
    Ok(agent.with_file_name("cni-plugin"))
}

/// Copies by rename, so that a runtime never meets half a program, nor one that is being written.
fn copy(source: &Path, to: &Path) -> anyhow::Result<bool> {
    let what = || format!("install {} as {}", source.display(), to.display());
    let wanted = fs::read(source).with_context(what)?;
    match fs::read(to) {
        Ok(present) if Sha256::digest(&present) == Sha256::digest(&wanted) => return Ok(false),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).with_context(what),
        _ => {}
    }
    replace(to, &wanted, 0o755).with_context(what)?;
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
}
