//! What goes into the machine: the test programs, what they call, and the libraries that both are linked against.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

use crate::{paths, run, say, tools};

/// Test targets that need nothing but a kernel and root.
const TARGETS: [&str; 4] = ["verifier", "packets", "processors", "world_encryption"];

/// Programs of ours that tests start.
const OURS: [&str; 3] = ["proxy-agent", "cni-plugin", "proxyctl"];

/// Programs of the host that tests call, for which busybox is no substitute.
const TOOLS: [&str; 6] = ["ip", "bridge", "tc", "unshare", "mount", "umount"];

/// An executable.
pub(super) struct Program {
    /// Its name in the machine.
    pub(super) name: String,
    /// Where it is on the host.
    pub(super) path: PathBuf,
    /// Shared libraries that it loads, the dynamic linker among them.
    pub(super) libraries: Vec<PathBuf>,
}

impl Program {
    fn new(name: String, path: PathBuf) -> Result<Self> {
        let libraries = libraries(&path)?;
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

/// Builds the test programs.
pub(super) fn build() -> Result<Vec<Program>> {
    tools::toolchain::ensure()?;
    let mut cargo = run::cargo();
    cargo
        .args(["test", "--locked", "--no-run", "--message-format=json"])
        // As in every other layer: with other features unified, the dependencies would be compiled again.
        .arg("--workspace")
        .stderr(Stdio::inherit());
    for target in TARGETS {
        cargo.args(["--test", target]);
    }
    let messages = say::step("build the test programs", || run::output(&mut cargo))?;
    let programs: Vec<Program> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter_map(|message| Some((message.target?.name, message.executable?)))
        // Programs that the package of the tests makes are built with them.
        .filter(|(name, _)| TARGETS.contains(&name.as_str()))
        .map(|(name, path)| Program::new(name, path))
        .collect::<Result<_>>()?;
    if programs.len() != TARGETS.len() {
        bail!(
            "expected the test programs {TARGETS:?}, cargo built {}",
            programs.len()
        );
    }
    Ok(programs)
}

/// Programs of ours that tests start.
pub(super) fn ours() -> Result<Vec<Program>> {
    let mut cargo = run::cargo();
    cargo.args(["build", "--locked", "--workspace", "--bins"]);
    say::step("build the programs", || run::output(&mut cargo))?;
    let folder = paths::root().join("target/debug");
    let ours = OURS.iter();
    ours.map(|name| Program::new((*name).to_owned(), folder.join(name)))
        .collect()
}

/// The host's programs that tests call.
pub(super) fn tools() -> Result<Vec<Program>> {
    let tools = TOOLS.iter();
    tools
        .map(|name| Program::new((*name).to_owned(), on_path(name)?))
        .collect()
}

fn on_path(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| anyhow!("no program {name}"))
}

/// What the dynamic linker would load.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = run::output(Command::new("ldd").arg(program))
        .with_context(|| format!("libraries of {}", program.display()))?;
    Ok(listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}
