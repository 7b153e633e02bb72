//! `cargo xtask manifests`: what in `deploy/` is made of the chart and of the agent's configuration.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{paths, say};

mod base;
mod cleanup;
mod golden;
mod helm;
mod platforms;
mod preset;
mod readme;
mod schema;
mod values;

/// Make from deploy/chart what is made of it: its schema, README and page of the book, deploy/base, deploy/cleanup, deploy/platforms, the tests' golden files.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail if something is not what would be made.
    #[arg(long)]
    check: bool,
}

/// A file as it shall be; its path from the root of the repository.
struct File {
    path: String,
    text: String,
}

/// Begins files that are made.
const MADE: &str = "# Made by `cargo xtask manifests` from deploy/chart; do not edit.\n";

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let values = values::chart()?;
    let presets = preset::all()?;
    // Helm itself refuses values that the schema does not know, so that comes first.
    let mut files = vec![schema::file(&values, &presets)?];
    let mut differing = settle(&files, args.check)?;
    files.clear();
    files.push(readme::file(&values, &presets)?);
    files.push(readme::page(&values, &presets));
    files.extend(base::files()?);
    files.extend(platforms::files(&presets)?);
    files.push(cleanup::file()?);
    files.extend(golden::files(&presets)?);
    differing.extend(settle(&files, args.check)?);
    if differing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let done = if args.check { "not in step" } else { "written" };
    for path in &differing {
        say::line(format!("{done}: {path}"));
    }
    if args.check {
        say::line("hint: cargo xtask manifests");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes what differs, or only finds it.
fn settle(files: &[File], check: bool) -> Result<Vec<String>> {
    let mut differing = Vec::new();
    for file in files {
        let path = paths::root().join(&file.path);
        if fs::read_to_string(&path).is_ok_and(|found| found == file.text) {
            continue;
        }
        differing.push(file.path.clone());
        if !check {
            write(&path, &file.text)?;
        }
    }
    Ok(differing)
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a file of the repository.
fn read(path: &str) -> Result<String> {
    let path = paths::root().join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
