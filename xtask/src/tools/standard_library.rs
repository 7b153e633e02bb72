//! The standard library of an architecture that the toolchain has none for, built from the toolchain's sources.
//!
//! Built once and kept, not with each program (`-Z build-std`): programs are then built by stable means, and share with those of
//! this machine what runs on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{arch::Arch, bpf, paths, run, say};

/// Crates that programs and tests name.
const CRATES: &str = "build-std=std,panic_abort,panic_unwind,proc_macro,test";

/// A crate that needs all of them and has nothing.
const MANIFEST: &str = "[package]\nname = \"nothing\"\nedition = \"2024\"\n[workspace]\n";

/// Names of its files; a program that finds them beside the library would have them twice.
const NOTHING: &str = "libnothing-";

/// For `--sysroot`; none where the toolchain has the library itself.
pub(super) fn sysroot(arch: Arch) -> Result<Option<PathBuf>> {
    let target = arch.target();
    if plain(bpf::rustlib())?.join(target).join("lib").is_dir() {
        say::line(format!("standard library for {target}: the toolchain's"));
        return Ok(None);
    }
    let release = plain(bpf::release())?;
    let kept = paths::cache()?.join(format!("rust-std-{release}-{target}"));
    say::line(format!(
        "standard library for {target}: not in the toolchain (`rustup target add {target}`), built into {}",
        kept.display()
    ));
    if !kept.exists() {
        say::step(&format!("build the standard library for {target}"), || {
            build(arch, &kept)
        })
        .context("hint: is the crates registry reachable? The library has dependencies there")?;
    }
    Ok(Some(kept))
}

fn build(arch: Arch, kept: &Path) -> Result<()> {
    let scratch = tempfile::tempdir().context("cannot create a folder to build in")?;
    let source = scratch.path().join("src");
    fs::create_dir(&source)?;
    fs::write(source.join("lib.rs"), "#![no_std]\n")?;
    let manifest = scratch.path().join("Cargo.toml");
    fs::write(&manifest, MANIFEST)?;
    run::logged(
        &mut cargo(arch, scratch.path())?,
        &paths::log("standard-library")?,
    )?;
    let built = scratch
        .path()
        .join(format!("target/{}/release/deps", arch.target()));
    // Whole or not at all, also beside another build of it.
    let fresh = kept.with_extension(format!("new-{}", std::process::id()));
    let folder = fresh.join(format!("lib/rustlib/{}/lib", arch.target()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    gather(&built, &folder)?;
    fs::rename(&fresh, kept)
        .with_context(|| format!("cannot rename {} to {}", fresh.display(), kept.display()))
}

fn cargo(arch: Arch, folder: &Path) -> Result<Command> {
    let mut cargo = run::cargo();
    cargo
        .args([
            "build",
            "--release",
            "-Z",
            CRATES,
            "--target",
            arch.target(),
        ])
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder.join("target"))
        // For the `-Z` only; cargo gives it to the library's crates itself.
        .env("RUSTC_BOOTSTRAP", "1")
        // As the one that toolchains have: programs may be linked with optimisation, or panic either way.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Cembed-bitcode=yes\x1f-Cforce-unwind-tables=yes",
        );
    if let Some(library) = plain(bpf::library())? {
        cargo.env(bpf::LIBRARY, library);
    }
    Ok(cargo)
}

/// Copies the library's crates.
fn gather(built: &Path, folder: &Path) -> Result<()> {
    let entries =
        fs::read_dir(built).with_context(|| format!("cannot read {}", built.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default();
        let is_crate = path.extension().is_some_and(|ending| ending == "rlib");
        if is_crate && !name.to_string_lossy().starts_with(NOTHING) {
            fs::copy(&path, folder.join(name))
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn plain<T>(result: Result<T, String>) -> Result<T> {
    result.map_err(|error| anyhow!(error))
}
