//! The test programs that go into the machine, with the libraries that they are linked against.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{run, say, tools};

/// Test targets that need nothing but a kernel and root.
const TARGETS: [&str; 1] = ["verifier"];

/// A test program.
pub(super) struct Program {
    /// Its test target.
    pub(super) name: String,
    /// The executable.
    pub(super) path: PathBuf,
    /// Shared libraries that it loads, the dynamic linker among them.
    pub(super) libraries: Vec<PathBuf>,
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

/// Builds them.
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
        .map(|(name, path)| {
            let libraries = libraries(&path)?;
            Ok(Program {
                name,
                path,
                libraries,
            })
        })
        .collect::<Result<_>>()?;
    if programs.len() != TARGETS.len() {
        bail!(
            "expected the test programs {TARGETS:?}, cargo built {}",
            programs.len()
        );
    }
    Ok(programs)
}

/// What the dynamic linker would load.
fn libraries(program: &PathBuf) -> Result<Vec<PathBuf>> {
    let listed = run::output(Command::new("ldd").arg(program))
        .with_context(|| format!("libraries of {}", program.display()))?;
    Ok(listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}
