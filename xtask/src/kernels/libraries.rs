//! The shared libraries that a program is linked against.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::programs::Library;
use crate::{arch::Arch, run};

/// What the dynamic linker of this machine would load.
pub(super) fn of_host(program: &Path) -> Result<Vec<Library>> {
    let listed = run::output(Command::new("ldd").arg(program))
        .with_context(|| format!("libraries of {}", program.display()))?;
    let paths = listed
        .split_whitespace()
        .filter_map(|word| word.strip_prefix('/'));
    Ok(paths
        .map(|path| Library {
            path: Path::new("/").join(path),
            place: path.into(),
        })
        .collect())
}

/// What the dynamic linker of another machine would load, whose files are in these folders, as below its root.
pub(super) fn within(arch: Arch, folders: &[PathBuf], program: &Path) -> Result<Vec<Library>> {
    let mut found: Vec<Library> = Vec::new();
    let mut waiting = vec![program.to_owned()];
    while let Some(next) = waiting.pop() {
        for name in needed(arch, &next)? {
            let library = look_up(arch, folders, &name)
                .with_context(|| format!("no library {name}, which {} needs", next.display()))?;
            if found.iter().all(|known| known.place != library.place) {
                waiting.push(library.path.clone());
                found.push(library);
            }
        }
    }
    Ok(found)
}

/// Names of libraries in a program's dynamic section, and the path of its dynamic linker.
fn needed(arch: Arch, file: &Path) -> Result<Vec<String>> {
    let listed = run::output(
        Command::new(arch.gnu("readelf"))
            .args(["--dynamic", "--program-headers", "--wide"])
            .arg(file),
    )?;
    Ok(names(&listed))
}

fn names(listed: &str) -> Vec<String> {
    let libraries = listed
        .lines()
        .filter_map(|line| line.split_once("Shared library: ["));
    let linkers = listed
        .lines()
        .filter_map(|line| line.split_once("program interpreter: /"));
    let all = libraries.chain(linkers).map(|(_, name)| name);
    all.map(|name| name.trim_end_matches(']').to_owned())
        .collect()
}

fn look_up(arch: Arch, folders: &[PathBuf], name: &str) -> Option<Library> {
    let own = format!("{}-linux-gnu", arch.machine());
    // A linker is named by its path.
    let places = ["", "lib", "usr/lib"].map(|place| match place {
        "" => PathBuf::from(name),
        place => Path::new(place).join(&own).join(name),
    });
    let tried = places.iter().flat_map(|place| {
        folders
            .iter()
            .map(move |folder| (folder.join(place), place))
    });
    let mut there = tried.filter(|(path, _)| path.exists());
    there.next().map(|(path, place)| Library {
        path,
        place: place.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn linker_and_libraries_are_read() {
        let listed = "  INTERP 0x0270\n      [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]\n \
                      0x0001 (NEEDED)  Shared library: [libbpf.so.1]\n 0x001d (RUNPATH) Library runpath: [/x]\n";
        assert_eq!(names(listed), ["libbpf.so.1", "lib/ld-linux-aarch64.so.1"]);
    }
}
