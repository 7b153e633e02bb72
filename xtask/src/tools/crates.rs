//! Programs from the crates registry, compiled into the cache, keyed by version.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};

use crate::{cache, paths, run, say};

/// The program of that name in that version; compiles it, with these flags of cargo, if it is not there.
pub(crate) fn ensure(name: &str, version: &str, flags: &[&str]) -> Result<PathBuf> {
    let program = cache::crate_program(name, version).map_err(|error| anyhow!(error))?;
    if program.exists() {
        return Ok(program);
    }
    let root = paths::cache()?.join(format!("{name}-{version}"));
    // In the checkout, so that its toolchain is used: bpf-linker reads that compiler's bitcode.
    let mut cargo = run::cargo();
    cargo
        // Compiling them optimised takes longer than they ever run.
        .args(["install", "--locked", "--debug", name, "--version", version])
        .arg("--root")
        .arg(&root)
        .args(flags);
    say::step(&format!("install {name} {version}"), || {
        run::logged(&mut cargo, &paths::log(name)?)
    })
    .context("hint: is the crates registry reachable, and is a C++ compiler installed?")?;
    Ok(program)
}
