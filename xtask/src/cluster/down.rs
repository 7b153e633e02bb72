//! Takes the cluster away: processes, cgroups, namespaces (and with them links and routes), mounts, folders.
//!
//! Works from what it finds, not from what it remembers, so that it also clears up after a crash.

use std::path::Path;
use std::process::Command;
use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow};

use super::cgroups::Hierarchies;
use super::lab::Lab;
use crate::{run, say};

/// Removes everything; does all it can and then reports what failed.
pub(crate) fn down(lab: &Lab) -> Result<()> {
    let mut failures = Vec::new();
    let mut attempt = |done: Result<()>| {
        if let Err(error) = done {
            failures.push(format!("{error:#}"));
        }
    };
    attempt(say::step("end its processes", cgroups));
    attempt(made_folders(lab));
    // Never removes files through what is still mounted.
    attempt(
        say::step("undo its mounts", || mounts(&lab.folder))
            .and_then(|()| say::step("remove its files", || folder(&lab.folder))),
    );
    if failures.is_empty() {
        Ok(())
    } else {
        Err(anyhow!(
            "the cluster is not wholly gone: {}",
            failures.join("; ")
        ))
    }
}

fn cgroups() -> Result<()> {
    let hierarchies = Hierarchies::find()?;
    for name in hierarchies.leftovers() {
        hierarchies.destroy(&name)?;
    }
    Ok(())
}

/// Unmounts all below the folder, the last mounted first.
fn mounts(folder: &Path) -> Result<()> {
    for _round in 0..5 {
        let mounted = mounted_below(folder)?;
        if mounted.is_empty() {
            return Ok(());
        }
        for point in mounted.iter().rev() {
            // Lazily: a namespace may still be entered by somebody's shell.
            if let Err(error) = run::output(Command::new("umount").arg("-l").arg(point)) {
                say::line(format!("{error:#}"));
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(anyhow!(
        "still mounted: {}",
        mounted_below(folder)?.join(" ")
    ))
}

fn mounted_below(folder: &Path) -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mounts").context("cannot read the mount table")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(points
        .filter(|point| Path::new(point).starts_with(folder))
        .map(str::to_owned)
        .collect())
}

/// Removes the mount points that `up` had to make, if nobody has put anything there since.
fn made_folders(lab: &Lab) -> Result<()> {
    let list = lab.file("made-folders");
    let made = match fs::read_to_string(&list) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        made => made.with_context(|| format!("cannot read {}", list.display()))?,
    };
    for folder in made.lines().filter(|folder| Path::new(folder).exists()) {
        fs::remove_dir(folder).with_context(|| format!("cannot remove {folder}"))?;
    }
    Ok(())
}

fn folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
