//! Compiles `proxy-ebpf` for the BPF target.
//!
//! Needs nothing but `std`, because `proxy-agent/build.rs` includes this file and `cache.rs` too:
//! a plain `cargo build` and `cargo xtask build` then make the same object.
//! The tools themselves are put in place by `cargo xtask setup toolchain`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::cache;

/// The linker's version; other versions emit other code, so it is pinned.
pub(crate) const LINKER_VERSION: &str = "0.10.3";
/// The target that the kernel runs.
const TARGET: &str = "bpfel-unknown-none";
/// Cargo's own way to take the library's sources from elsewhere than the sysroot: the folder itself.
pub(crate) const LIBRARY: &str = "__CARGO_TESTS_ONLY_SRC_ROOT";
/// What every failure for want of a tool ends with.
const HINT: &str = "hint: run `cargo xtask setup toolchain`";

/// The agent's programs.
pub(crate) const PROGRAMS: &str = "proxy-ebpf";

/// Compiles the programs of the workspace at `root` and copies the object into `out`; returns its path.
pub(crate) fn build(root: &Path, out: &Path) -> Result<PathBuf, String> {
    build_of(root, PROGRAMS, out)
}

/// As [`build`], of another object of the package.
pub(crate) fn build_of(root: &Path, name: &str, out: &Path) -> Result<PathBuf, String> {
    let made = cargo(root, "build", name)?
        .output()
        .map_err(|error| format!("cannot start cargo for the BPF object: {error}"))?;
    if !made.status.success() {
        return Err(format!(
            "the BPF object does not compile ({}):\n{}",
            made.status,
            errors_in(&String::from_utf8_lossy(&made.stderr))
        ));
    }
    let made = target_dir(root).join(TARGET).join("release").join(name);
    let object = out.join(format!("{name}.o"));
    fs::copy(&made, &object).map_err(|error| {
        format!(
            "cannot copy {} to {}: {error}",
            made.display(),
            object.display()
        )
    })?;
    Ok(object)
}

fn target_dir(root: &Path) -> PathBuf {
    root.join("target/bpf")
}

/// Cargo with all that the programs of the workspace at `root` are compiled by, to `build` or to lint them.
pub(crate) fn cargo(root: &Path, verb: &str, name: &str) -> Result<Command, String> {
    let linker = linker()?;
    let library = library()?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_outer_build(&mut cargo);
    cargo
        .current_dir(root)
        .args([verb, "--locked", "--release"])
        .args(["--package", "proxy-ebpf", "--bin", name])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(target_dir(root))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root)?.join("\x1f"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none");
    if let Some(library) = library {
        cargo.env(LIBRARY, library);
    }
    Ok(cargo)
}

/// A compiler's words from its first error on. Cargo itself shows nothing of what a build script printed.
fn errors_in(words: &str) -> &str {
    words
        .find("\nerror")
        .map_or(words, |start| &words[start + 1..])
}

/// Where `cargo xtask setup` puts the linker.
pub(crate) fn linker_path() -> Result<PathBuf, String> {
    Ok(cache::folder()?.join(format!("bpf-linker-{LINKER_VERSION}/bin/bpf-linker")))
}

/// Where `cargo xtask setup` puts library sources of this release if the toolchain has none.
pub(crate) fn library_path(release: &str) -> Result<PathBuf, String> {
    Ok(cache::folder()?.join(format!("rust-src-{release}/library")))
}

/// The toolchain's own library sources, if it has them.
pub(crate) fn sysroot_library() -> Result<Option<PathBuf>, String> {
    let library = rustlib()?.join("src/rust/library");
    Ok(library.join("Cargo.lock").exists().then_some(library))
}

/// Where the toolchain has libraries: a folder for each target, and one of sources.
pub(crate) fn rustlib() -> Result<PathBuf, String> {
    rustc(&["--print", "sysroot"]).map(|sysroot| PathBuf::from(sysroot).join("lib/rustlib"))
}

/// The compiler's release, such as `1.95.0`.
pub(crate) fn release() -> Result<String, String> {
    let version = rustc(&["--version"])?;
    version
        .split(' ')
        .nth(1)
        .map(str::to_owned)
        .ok_or_else(|| format!("cannot read rustc's version in `{version}`"))
}

fn linker() -> Result<PathBuf, String> {
    let path = linker_path()?;
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("no BPF linker at {}\n{HINT}", path.display()))
    }
}

/// The library's folder, or nothing where cargo finds it by itself.
pub(crate) fn library() -> Result<Option<PathBuf>, String> {
    if sysroot_library()?.is_some() {
        return Ok(None);
    }
    let path = library_path(&release()?)?;
    if path.exists() {
        return Ok(Some(path));
    }
    Err(format!(
        "no library sources for the BPF target, neither in the toolchain nor at {}\n{HINT}",
        path.display()
    ))
}

fn flags(root: &Path) -> Result<Vec<String>, String> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_else(|_| env::consts::ARCH.to_owned());
    let mut flags = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        "--cfg".to_owned(),
        format!("bpf_target_arch=\"{arch}\""),
    ];
    flags.extend(same_paths(root)?);
    Ok(flags)
}

/// Flags by which equal sources make equal programs wherever they lie: no path of this machine goes into one.
pub(crate) fn same_paths(root: &Path) -> Result<Vec<String>, String> {
    let whole = |path: &Path| {
        path.canonicalize()
            .map_err(|error| format!("cannot find {}: {error}", path.display()))
    };
    let commit = rustc(&["--version", "--verbose"])?;
    let commit = commit
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .unwrap_or("unknown");
    let mut paths = vec![(whole(root)?, "weir".to_owned())];
    let cargo = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    // There is none before the first crate is fetched.
    if let Some(Ok(cargo)) = cargo.map(|cargo| whole(&cargo)) {
        paths.push((cargo, "cargo".to_owned()));
    }
    // As the parts of the library say it that come compiled.
    paths.push((rustlib()?.join("src/rust"), format!("/rustc/{commit}")));
    if let Some(library) = library()?.as_deref().and_then(Path::parent) {
        paths.push((library.to_owned(), format!("/rustc/{commit}")));
    }
    let flags = paths
        .iter()
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    Ok(flags.collect())
}

/// Takes away what a build script inherits: flags and wrappers meant for the outer build.
fn forget_outer_build(cargo: &mut Command) {
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let keep = matches!(
            name.as_str(),
            "CARGO_HOME" | "CARGO_MAKEFLAGS" | "CARGO_TERM_COLOR"
        );
        let outer = name.starts_with("CARGO") || name.starts_with("RUSTC") || name == "RUSTFLAGS";
        if outer && !keep {
            cargo.env_remove(&name);
        }
    }
}

fn rustc(args: &[&str]) -> Result<String, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(args)
        .output()
        .map_err(|error| format!("cannot run rustc {}: {error}", args.join(" ")))?;
    if !output.status.success() {
        return Err(format!(
            "rustc {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
