//! `cargo xtask build`: the programs, with the BPF object inside the agent.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow};

use crate::{arch::Arch, bpf, paths, run, say, tools};

/// Build agent, proxyctl and plugin as static programs, the BPF object inside the agent.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cargo profile: `lab` is quick to link, `release` is what ships.
    #[arg(long, default_value = "release")]
    profile: String,
    /// What to build for; this machine's architecture if it is not named.
    #[arg(long, value_name = "ARCH", default_value = Arch::HOST.name())]
    target: Arch,
    /// Only the programs in the kernel, as `proxy-ebpf.o` under target/bpf.
    #[arg(long)]
    bpf: bool,
}

/// Programs that ship.
pub(crate) const PROGRAMS: [&str; 3] = ["proxy-agent", "proxyctl", "cni-plugin"];

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.bpf {
        say::data(object()?.display().to_string());
        return Ok(ExitCode::SUCCESS);
    }
    for program in programs(&args.profile, args.target)? {
        say::data(program.display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the BPF object and returns its path.
fn object() -> Result<PathBuf> {
    tools::toolchain::ensure()?;
    let out = paths::root().join("target/bpf");
    std::fs::create_dir_all(&out)?;
    say::step("build the BPF object", || {
        bpf::build(paths::root(), &out).map_err(|error| anyhow!(error))
    })
}

/// Builds the programs for an architecture and returns their paths, in the order of [`PROGRAMS`].
pub(crate) fn programs(profile: &str, arch: Arch) -> Result<Vec<PathBuf>> {
    programs_of(paths::root(), profile, arch)
}

/// As [`programs`], of another checkout.
pub(crate) fn programs_of(root: &Path, profile: &str, arch: Arch) -> Result<Vec<PathBuf>> {
    let mut cargo = cargo(root, arch)?;
    cargo
        .args(["build", "--locked", "--profile", profile])
        // Static glibc needs the target named, or build scripts and macros would be linked statically too.
        .args(["--target", arch.target()])
        .args([
            "--package",
            "proxy-agent",
            "--package",
            "cni-plugin",
            "--bins",
        ]);
    say::step(
        &format!("build {} ({profile}, {})", PROGRAMS.join(", "), arch.name()),
        || run::loud(&mut cargo),
    )?;
    let folder = place_of(root, profile, arch);
    Ok(PROGRAMS
        .iter()
        .map(|program| folder.join(program))
        .collect())
}

/// Cargo that tells programs which commit they are of.
fn cargo(root: &Path, arch: Arch) -> Result<Command> {
    let mut cargo = tools::cross::cargo(root, arch)?;
    if let Some(revision) = revision(root)? {
        cargo.env("WEIR_REVISION", revision);
    }
    Ok(cargo)
}

/// Where this machine's programs are, once they are built.
pub(crate) fn place(profile: &str) -> PathBuf {
    place_of(paths::root(), profile, Arch::HOST)
}

fn place_of(root: &Path, profile: &str, arch: Arch) -> PathBuf {
    let folder = if profile == "dev" { "debug" } else { profile };
    root.join("target").join(arch.target()).join(folder)
}

/// The commit that is built, for `weir_build_info`; none where there is no history. Other builds do not name it, or each commit
/// would compile the agent anew.
pub(crate) fn revision(root: &Path) -> Result<Option<String>> {
    if !root.join(".git").exists() {
        return Ok(None);
    }
    let mut git = Command::new("git");
    git.current_dir(root);
    git.args([
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ]);
    run::output(&mut git).map(Some)
}

/// Builds this machine's programs and returns their folder.
pub(crate) fn folder(profile: &str) -> Result<PathBuf> {
    folder_of(profile, Arch::HOST)
}

/// Builds the programs for an architecture and returns their folder.
pub(crate) fn folder_of(profile: &str, arch: Arch) -> Result<PathBuf> {
    let built = programs(profile, arch)?;
    let folder = built.first().and_then(|program| program.parent());
    folder
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("the programs have no folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `weir_build_info` says of a program that is built by this verb.
    #[test]
    fn programs_are_told_their_commit() -> Result<()> {
        let mut git = Command::new("git");
        git.current_dir(paths::root());
        git.args(["describe", "--always", "--dirty", "--abbrev=12"]);
        git.arg("--exclude=*");
        let cargo = cargo(paths::root(), Arch::HOST)?;
        let mut told = cargo
            .get_envs()
            .filter(|(name, _)| *name == "WEIR_REVISION");
        let revision = told.next().and_then(|(_, value)| value);
        assert_eq!(revision, Some(run::output(&mut git)?.as_ref()));
        Ok(())
    }
}
