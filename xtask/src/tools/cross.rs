//! Cargo that builds static programs, also for another architecture than this machine's.
//!
//! Another one needs a linker and a C compiler, which Debian has, and a standard library: the toolchain's own, or one that is built.

use std::{path::Path, process::Command};

use anyhow::{Result, anyhow};

use super::{debian, standard_library, toolchain};
use crate::{arch::Arch, bpf};

/// Cargo in the checkout at `root`, whose `--target` is this architecture's; installs what compiles for it.
pub(crate) fn cargo(root: &Path, arch: Arch) -> Result<Command> {
    let mut cargo = toolchain::cargo()?;
    cargo.current_dir(root);
    let mut flags = vec!["-C".to_owned(), "target-feature=+crt-static".to_owned()];
    if arch != Arch::HOST {
        debian::host(&arch.cross())?;
        name_tools(&mut cargo, arch);
        if let Some(sysroot) = standard_library::sysroot(arch)? {
            flags.extend(["--sysroot".to_owned(), sysroot.display().to_string()]);
        }
    }
    // They name where the tools are: only to be had once those are there.
    flags.extend(bpf::same_paths(root).map_err(|error| anyhow!(error))?);
    // With the target named they do not reach build scripts and macros.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    Ok(cargo)
}

/// Tells cargo, and what compiles C for crates, which tools to call.
fn name_tools(cargo: &mut Command, arch: Arch) {
    let target = arch.target().replace('-', "_");
    let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase());
    cargo
        .env(linker, arch.gnu("gcc"))
        .env(format!("CC_{target}"), arch.gnu("gcc"))
        .env(format!("AR_{target}"), arch.gnu("ar"));
}
