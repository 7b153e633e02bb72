//! `cargo xtask release`: what a release is made of, but for signing and publishing, which the workflow does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::{paths, run, say};

mod manifests;
mod notes;
mod package;
mod twice;

/// The version of the checkout.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Make the files of a release, in target/release-files.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// Which files.
#[derive(Subcommand)]
enum What {
    /// Print the version's section of CHANGELOG.md; fails if there is none, or if the tag names another version
    Notes {
        /// The tag, `v1.2.3`.
        tag: String,
    },
    /// Programs, man pages, completions and licences in one archive, and a list of the crates that they are made of
    Package(package::Args),
    /// The chart and the manifests, with the image's digest
    Manifests(manifests::Args),
    /// Build this commit's programs here and from a clone somewhere else; fails where they are not the same
    Twice,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let files = match &args.what {
        What::Notes { tag } => {
            let changelog = read("CHANGELOG.md")?;
            say::data(notes::of(&changelog, tag)?);
            return Ok(ExitCode::SUCCESS);
        }
        What::Twice => return twice::run(),
        What::Package(args) => package::write(args)?,
        What::Manifests(args) => manifests::write(args)?,
    };
    for file in files {
        say::data(file.display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the files go.
fn folder() -> Result<PathBuf> {
    let folder = paths::root().join("target/release-files");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

fn read(path: &str) -> Result<String> {
    let path = paths::root().join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Packs all that is in a folder: equal files make an equal archive.
fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args([
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ])
    .args(["--use-compress-program=gzip -n", "--create", "--file"])
    .arg(archive)
    .arg("--directory")
    .arg(folder)
    .arg(".");
    run::output(&mut tar).map(drop)
}

/// Copies a folder of the checkout, or a file, below another one.
fn copy(path: &str, into: &Path) -> Result<()> {
    let target = into.join(path);
    let parent = target.parent().unwrap_or(into);
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let mut copy = Command::new("cp");
    copy.arg("--recursive")
        .arg(paths::root().join(path))
        .arg(&target);
    run::output(&mut copy).map(drop)
}
