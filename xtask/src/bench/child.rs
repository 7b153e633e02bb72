//! A bench proper, which runs in a process of its own, and is asked for one round after the other: `tests/benches`.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{run as command, tools::toolchain};

/// What cargo says of a file that it made; all else that it says is empty here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds a bench of a checkout. The kernel holds the clock, so a quick build of what asks it does.
pub(super) fn build(checkout: &Path, name: &str, target_folder: Option<&Path>) -> Result<PathBuf> {
    let mut cargo = toolchain::cargo()?;
    cargo
        .current_dir(checkout)
        .args(["bench", "--no-run", "--quiet", "--locked"])
        .args(["--profile", "dev", "--workspace", "--bench", name])
        .args(["--message-format", "json-render-diagnostics"]);
    if let Some(folder) = target_folder {
        cargo.env("CARGO_TARGET_DIR", folder);
    }
    let said = command::output(&mut cargo)?;
    executable(&said, name).context("cargo names no program of the bench")
}

/// The bench's program among what cargo says.
fn executable(said: &str, name: &str) -> Option<PathBuf> {
    let mut artifacts = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts.find_map(|artifact| {
        let is_bench = artifact.target.kind.iter().any(|kind| kind == "bench");
        let is_ours = is_bench && artifact.target.name == name;
        artifact.executable.filter(|_| is_ours)
    })
}

/// A bench that waits to be asked for a round.
pub(super) struct Child {
    process: process::Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Child {
    /// Starts it.
    pub(super) fn start(program: &Path, arguments: &[OsString]) -> Result<Self> {
        let mut bench = Command::new(program);
        bench.args(arguments);
        Self::of(bench)
    }

    /// Starts it by a command.
    pub(super) fn of(mut bench: Command) -> Result<Self> {
        bench.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = bench
            .spawn()
            .with_context(|| format!("cannot start {}", bench.get_program().display()))?;
        Ok(Self {
            ask: process.stdin.take().context("no pipe to the bench")?,
            answers: BufReader::new(process.stdout.take().context("no pipe from the bench")?),
            process,
        })
    }

    /// Asks for a round.
    pub(super) fn round<T: DeserializeOwned>(&mut self) -> Result<Vec<T>> {
        self.ask("round")
    }

    /// As [`Self::round`], with a word about it.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, word: &str) -> Result<Vec<T>> {
        let mut line = String::new();
        // One that has ended says why on stderr: its silence is told below.
        let asked = writeln!(self.ask, "{word}");
        self.answers
            .read_line(&mut line)
            .context("read what the bench measured")?;
        ensure!(!line.is_empty(), "the bench ended too early");
        asked.context("ask the bench for a round")?;
        serde_json::from_str(&line).with_context(|| format!("read what the bench measured: {line}"))
    }

    /// Lets it end.
    pub(super) fn end(self) -> Result<()> {
        let Self {
            mut process, ask, ..
        } = self;
        drop(ask);
        let status = process.wait().context("wait for the bench")?;
        ensure!(status.success(), "the bench failed ({status})");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn the_bench_is_found_among_what_cargo_says() {
        let said = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"packet"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"packet"},"executable":"/bin"}
{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"packet"},"executable":"/bench"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(said, "packet"), Some("/bench".into()));
        assert_eq!(executable(said, "other"), None);
        assert_eq!(executable("no JSON", "packet"), None);
    }
}
