//! What compiles the programs, beside cargo: `make` for the allocator; for the BPF object `bpf-linker`, and the
//! sources of `core`, which has no prebuilt for this target.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, anyhow};

use super::debian::Suite;
use crate::{bpf, paths, run, say};

/// How long rustup may take for its part before we turn to Debian: behind a firewall it would wait for minutes.
const RUSTUP_PATIENCE: Duration = Duration::from_mins(1);

/// Installs what is missing.
pub(crate) fn ensure() -> Result<()> {
    make()?;
    linker()?;
    library()
}

/// Cargo that compiles Weir: what that takes is there.
pub(crate) fn cargo() -> Result<Command> {
    ensure()?;
    Ok(run::cargo())
}

/// The agent's allocator is built by it.
fn make() -> Result<()> {
    run::output(Command::new("make").arg("--version"))
        .map(drop)
        .context("hint: install a C tool chain (Debian: build-essential)")
}

fn linker() -> Result<()> {
    if plain(bpf::linker_path())?.exists() {
        return Ok(());
    }
    super::crates::ensure("bpf-linker", bpf::LINKER_VERSION, &[]).map(drop)
}

fn library() -> Result<()> {
    if plain(bpf::sysroot_library())?.is_some() {
        return Ok(());
    }
    let release = plain(bpf::release())?;
    let library = plain(bpf::library_path(&release))?;
    if library.exists() || from_rustup() {
        return Ok(());
    }
    from_debian(&release, &library).with_context(|| {
        format!("hint: no library sources for rustc {release}; `rustup component add rust-src` where rustup has a network")
    })
}

/// Tries rustup; its failure is no error, because Debian comes next.
fn from_rustup() -> bool {
    say::step("add rust-src by rustup", || {
        let mut rustup = Command::new("rustup");
        rustup
            .current_dir(paths::root())
            .args(["component", "add", "rust-src"]);
        let mut child = rustup
            .stderr(std::process::Stdio::null())
            .spawn()
            .context("cannot start rustup")?;
        let deadline = Instant::now() + RUSTUP_PATIENCE;
        loop {
            if let Some(status) = child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(anyhow!("rustup failed ({status})"))
                };
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Err(anyhow!("rustup did not answer"));
            }
            thread::sleep(Duration::from_millis(200));
        }
    })
    .is_ok()
        && matches!(bpf::sysroot_library(), Ok(Some(_)))
}

fn from_debian(release: &str, library: &Path) -> Result<()> {
    let sources = Suite::Backports.unpack("rust-src", &format!("{release}+"))?;
    let unpacked = sources.join(format!("usr/src/rustc-{release}/library"));
    if !unpacked.exists() {
        return Err(anyhow!("package rust-src holds no {}", unpacked.display()));
    }
    let folder = library.parent().context("library path has no parent")?;
    fs::create_dir_all(folder)?;
    std::os::unix::fs::symlink(&unpacked, library).with_context(|| {
        format!(
            "cannot link {} to {}",
            library.display(),
            unpacked.display()
        )
    })?;
    Ok(())
}

fn plain<T>(result: Result<T, String>) -> Result<T> {
    result.map_err(|error| anyhow!(error))
}
