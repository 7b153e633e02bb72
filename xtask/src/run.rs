//! Running programs: with their output to be read, to a log, or to the terminal.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// Lines of a log shown when its program fails.
const TAIL: usize = 25;

/// A command as one would type it, for messages.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Cargo, as one would call it oneself. What `cargo xtask` tells us of our own package would reach build scripts that
/// look at such variables (ring's), and all that depends on them would be compiled again.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(paths::root());
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name == "CARGO" || name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_PKG_")
        {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// Runs a program and returns what it printed, without the last newline.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    printed(command, &done)
}

/// Runs a program with its output in `log`, whose end becomes part of the error if it fails.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<()> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let mut file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    writeln!(file, "$ {}", shown(command))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!(
            "`{}` failed ({status}); end of {}:\n{}",
            shown(command),
            log.display(),
            tail(log)?
        );
    }
    Ok(())
}

/// Runs a program on our own terminal.
pub(crate) fn loud(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a program that reads `input`, and returns what it printed.
pub(crate) fn fed(command: &mut Command, input: &str) -> Result<String> {
    let started = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.with_context(|| format!("cannot start `{}`", shown(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .with_context(|| format!("cannot write to `{}`", shown(command)))?;
    }
    let done = child.wait_with_output()?;
    printed(command, &done)
}

/// What a program that ended well printed, without the last newline.
fn printed(command: &Command, done: &Output) -> Result<String> {
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!(
            "`{}` failed ({}): {}",
            shown(command),
            done.status,
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL)..].join("\n"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn cargo_hears_nothing_of_our_own_package() {
        assert!(
            std::env::var_os("CARGO_PKG_NAME").is_some(),
            "told by cargo"
        );
        let cargo = super::cargo();
        let mut changed = cargo.get_envs();
        assert!(changed.any(|(name, value)| name == "CARGO_PKG_NAME" && value.is_none()));
    }
}
