//! The programs as an archive, and what they are made of.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{VERSION, copy, folder, pack};
use crate::{arch::Arch, build, paths, run, say, tools};

/// What is packed beside the programs.
const BESIDE: [&str; 5] = [
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE",
    "LICENSES",
];

/// What to pack.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Programs that are built already; they are built static, in the profile `release`, if nothing is named.
    #[arg(long)]
    from: Option<PathBuf>,
    /// What they run on; this machine's architecture if it is not named.
    #[arg(long, value_name = "ARCH", default_value = Arch::HOST.name())]
    target: Arch,
}

/// Writes archive and list; returns their paths.
pub(super) fn write(args: &Args) -> Result<Vec<PathBuf>> {
    let made = paths::root().join("target/docs");
    ensure!(
        made.join("man").is_dir(),
        "no man pages in {}\nhint: cargo xtask docs",
        made.display()
    );
    let programs = match &args.from {
        Some(folder) => folder.clone(),
        None => build::folder_of("release", args.target)?,
    };
    let name = format!("weir-{VERSION}-{}", args.target.machine());
    let scratch = tempfile::tempdir().context("cannot create a folder to pack")?;
    let inside = scratch.path().join(&name);
    fs::create_dir(&inside)?;
    for program in build::PROGRAMS {
        place(&programs.join(program), &inside.join("bin"))?;
    }
    // By this name kubectl finds it.
    let plugin = inside.join("bin/kubectl-weir");
    symlink("proxyctl", &plugin).with_context(|| format!("cannot link {}", plugin.display()))?;
    for part in ["man", "completions"] {
        place(&made.join(part), &inside.join("share"))?;
    }
    for path in BESIDE {
        copy(path, &inside)?;
    }
    let archive = folder()?.join(format!("{name}.tar.gz"));
    pack(scratch.path(), &archive)?;
    let mut files = vec![archive];
    for package in ["proxy-agent", "cni-plugin"] {
        files.push(crates(package, &name)?);
    }
    Ok(files)
}

fn place(path: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("cannot create {}", into.display()))?;
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--dereference"])
        .arg(path)
        .arg(into);
    run::output(&mut copy).map(drop)
}

/// The list of crates of a package, as `CycloneDX`. A release has those of every architecture in one folder.
fn crates(package: &str, release: &str) -> Result<PathBuf> {
    let mut sbom = Command::new(tools::sbom::ensure()?);
    sbom.current_dir(paths::root());
    sbom.args([
        "--cargo-package",
        package,
        "--output-format",
        "cyclone_dx_json_1_6",
    ]);
    let text = say::step(&format!("list the crates of {package}"), || {
        run::output(&mut sbom)
    })?;
    let path = folder()?.join(format!("{release}-{package}.cdx.json"));
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
