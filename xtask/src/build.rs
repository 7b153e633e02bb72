//! `cargo xtask build`: the programs, with the BPF object inside the agent.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow};

use crate::{bpf, paths, run, say, tools};

/// Build agent, proxyctl and plugin as static programs, the BPF object inside the agent.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cargo profile: `lab` is quick to link, `release` is what ships.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Only the programs in the kernel, as `proxy-ebpf.o` under target/bpf.
    #[arg(long)]
    bpf: bool,
}

/// Programs that ship.
pub(crate) const PROGRAMS: [&str; 3] = ["proxy-agent", "proxyctl", "cni-plugin"];
/// Static glibc needs the target named, or build scripts and macros would be linked statically too.
const TARGET: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.bpf {
        say::data(object()?.display().to_string());
        return Ok(ExitCode::SUCCESS);
    }
    for program in programs(&args.profile)? {
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

/// Builds the programs and returns their paths, in the order of [`PROGRAMS`].
pub(crate) fn programs(profile: &str) -> Result<Vec<PathBuf>> {
    tools::toolchain::ensure()?;
    let mut cargo = run::cargo();
    if let Some(revision) = revision()? {
        cargo.env("WEIR_REVISION", revision);
    }
    cargo
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .args([
            "build",
            "--locked",
            "--profile",
            profile,
            "--target",
            TARGET,
        ])
        .args([
            "--package",
            "proxy-agent",
            "--package",
            "cni-plugin",
            "--bins",
        ]);
    say::step(
        &format!("build {} ({profile})", PROGRAMS.join(", ")),
        || run::loud(&mut cargo),
    )?;
    let folder = place(profile);
    Ok(PROGRAMS
        .iter()
        .map(|program| folder.join(program))
        .collect())
}

/// Where the programs are, once they are built.
pub(crate) fn place(profile: &str) -> PathBuf {
    let folder = if profile == "dev" { "debug" } else { profile };
    paths::root().join("target").join(TARGET).join(folder)
}

/// The commit that is built, for `weir_build_info`; none where there is no history. Other builds do not name it, or each commit
/// would compile the agent anew.
pub(crate) fn revision() -> Result<Option<String>> {
    if !paths::root().join(".git").exists() {
        return Ok(None);
    }
    let mut git = Command::new("git");
    git.current_dir(paths::root());
    git.args([
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ]);
    run::output(&mut git).map(Some)
}

/// Builds the programs and returns their folder.
pub(crate) fn folder(profile: &str) -> Result<PathBuf> {
    let built = programs(profile)?;
    let folder = built.first().and_then(|program| program.parent());
    folder
        .map(PathBuf::from)
        .ok_or_else(|| anyhow!("the programs have no folder"))
}
