//! Whether a build can be repeated: the same commit, in another folder, from nothing.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{arch::Arch, build, image::archive::hex, paths, run, say};

/// The profile that ships.
const PROFILE: &str = "release";

/// Builds both and compares them.
pub(super) fn run() -> Result<ExitCode> {
    let revision = build::revision(paths::root())?;
    ensure!(
        revision.is_some_and(|revision| !revision.ends_with("-dirty")),
        "a clone has only what is committed\nhint: commit, or stash what is not, first"
    );
    let scratch = tempfile::tempdir().context("cannot create a folder for the clone")?;
    let clone = scratch.path().join("clone");
    let mut git = Command::new("git");
    git.args(["clone", "--quiet"])
        .arg(paths::root())
        .arg(&clone);
    run::output(&mut git)?;
    let here = build::programs(PROFILE, Arch::HOST)?;
    let there = build::programs_of(&clone, PROFILE, Arch::HOST)?;
    let mut same = true;
    for ((name, one), other) in build::PROGRAMS.iter().zip(here).zip(there) {
        let (one, other) = (sum(&one)?, sum(&other)?);
        say::data(format!("{one}  {name}"));
        if one != other {
            say::data(format!("{other}  {name}, built from the clone"));
            same = false;
        }
    }
    Ok(if same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn sum(program: &Path) -> Result<String> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}
