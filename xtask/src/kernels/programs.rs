//! What goes into the machine of ours: the test programs, and what they start.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::libraries;
use crate::{
    arch::Arch,
    paths, run, say,
    tools::{cross, toolchain},
};

/// Test targets that need nothing but a kernel and root.
const TARGETS: [&str; 8] = [
    "verifier",
    "packets",
    "processors",
    "cni",
    "world_bandwidth",
    "world_encryption",
    "world_links",
    "world_netkit",
];

/// Programs of ours that tests start.
const OURS: [&str; 3] = ["proxy-agent", "cni-plugin", "proxyctl"];

/// An executable.
pub(super) struct Program {
    /// Its name in the machine.
    pub(super) name: String,
    /// Where it is on the host.
    pub(super) path: PathBuf,
    /// Shared libraries that it loads, the dynamic linker among them.
    pub(super) libraries: Vec<Library>,
}

/// A shared library.
pub(super) struct Library {
    /// Where it is on the host.
    pub(super) path: PathBuf,
    /// Where it is looked for in the machine, below the root.
    pub(super) place: PathBuf,
}

impl Program {
    /// One that we built: this machine's is linked against this machine's libraries, another one against none.
    fn ours(arch: Arch, name: String, path: PathBuf) -> Result<Self> {
        let libraries = if arch == Arch::HOST {
            libraries::of_host(&path)?
        } else {
            Vec::new()
        };
        Ok(Self {
            name,
            path,
            libraries,
        })
    }
}

/// A message of `cargo --message-format=json`, as far as it matters.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Cargo for an architecture, with the words that name it: nothing where it is this machine's, whose ordinary build will do.
fn cargo(arch: Arch, verb: &str) -> Result<Command> {
    if arch == Arch::HOST {
        let mut cargo = toolchain::cargo()?;
        cargo.arg(verb);
        return Ok(cargo);
    }
    let mut cargo = cross::cargo(paths::root(), arch)?;
    cargo.args([verb, "--target", arch.target()]);
    Ok(cargo)
}

/// Builds the test programs.
pub(super) fn build(arch: Arch) -> Result<Vec<Program>> {
    let mut cargo = cargo(arch, "test")?;
    cargo
        .args(["--locked", "--no-run", "--message-format=json"])
        // As in every other layer: with other features unified, the dependencies would be compiled again.
        .arg("--workspace")
        .stderr(Stdio::inherit());
    cargo.args(TARGETS.iter().flat_map(|name| ["--test", name]));
    let messages = say::step(
        &format!("build the test programs for {}", arch.name()),
        || run::output(&mut cargo),
    )?;
    let programs: Vec<Program> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter_map(|message| Some((message.target?.name, message.executable?)))
        // Programs that the package of the tests makes are built with them.
        .filter(|(name, _)| TARGETS.contains(&name.as_str()))
        .map(|(name, path)| Program::ours(arch, name, path))
        .collect::<Result<_>>()?;
    if programs.len() != TARGETS.len() {
        bail!(
            "expected the test programs {TARGETS:?}, cargo built {}",
            programs.len()
        );
    }
    Ok(programs)
}

/// This program itself.
pub(super) fn own() -> Result<Program> {
    let path = env::current_exe().context("find this program")?;
    Program::ours(Arch::HOST, "xtask".to_owned(), path)
}

/// Programs of ours that tests start.
pub(super) fn ours(arch: Arch) -> Result<Vec<Program>> {
    let mut cargo = cargo(arch, "build")?;
    cargo.args(["--locked", "--workspace"]);
    cargo.args(OURS.iter().flat_map(|name| ["--bin", name]));
    if arch != Arch::HOST {
        // Dependencies are compiled with what the tests need of them: without tests they would be once more.
        cargo.args(TARGETS.iter().flat_map(|name| ["--test", name]));
    }
    say::step(&format!("build the programs for {}", arch.name()), || {
        run::output(&mut cargo)
    })?;
    let target = paths::root().join("target");
    let folder = if arch == Arch::HOST {
        target.join("debug")
    } else {
        target.join(arch.target()).join("debug")
    };
    let ours = OURS.iter();
    ours.map(|name| Program::ours(arch, (*name).to_owned(), folder.join(name)))
        .collect()
}
