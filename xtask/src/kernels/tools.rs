//! Programs of the system that tests call: this machine's own, or Debian's for another architecture.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow};

use super::{libraries, programs::Program};
use crate::{arch::Arch, tools::debian::Suite};

/// Those for which busybox is no substitute.
const TOOLS: [&str; 7] = [
    "ip", "bridge", "tc", "nsenter", "unshare", "mount", "umount",
];

/// The packages that have them, and the libraries that they are linked against.
const PACKAGES: [&str; 16] = [
    "iproute2",
    "util-linux",
    "mount",
    "libblkid1",
    "libbpf1",
    "libbsd0",
    "libc6",
    "libcap2",
    "libelf1",
    "libmd0",
    "libmnl0",
    "libmount1",
    "libpcre2-8-0",
    "libselinux1",
    "libxtables12",
    "zlib1g",
];

/// The tools, for the machine.
pub(super) fn of(arch: Arch) -> Result<Vec<Program>> {
    if arch == Arch::HOST {
        let tools = TOOLS.iter();
        return tools.map(|name| host(name)).collect();
    }
    let repository = Suite::Bookworm.of(arch);
    let packages = PACKAGES.iter();
    let folders: Vec<PathBuf> = packages
        .map(|package| repository.unpack(package, ""))
        .collect::<Result<_>>()?;
    let tools = TOOLS.iter();
    tools.map(|name| foreign(arch, &folders, name)).collect()
}

/// A program of this machine.
pub(super) fn host(name: &str) -> Result<Program> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let path = find(folders, name)?;
    Ok(Program {
        name: name.to_owned(),
        libraries: libraries::of_host(&path)?,
        path,
    })
}

fn foreign(arch: Arch, folders: &[PathBuf], name: &str) -> Result<Program> {
    let places = ["bin", "sbin", "usr/bin", "usr/sbin"];
    let places = places
        .iter()
        .flat_map(|place| folders.iter().map(move |folder| folder.join(place)));
    let path = find(places, name)?;
    Ok(Program {
        name: name.to_owned(),
        libraries: libraries::within(arch, folders, &path)?,
        path,
    })
}

fn find(folders: impl IntoIterator<Item = PathBuf>, name: &str) -> Result<PathBuf> {
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| Path::exists(path))
        .ok_or_else(|| anyhow!("no program {name}"))
}
