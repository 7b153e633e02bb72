//! The folder of installed tools, and where a Go program lies in it.
//!
//! Nothing but `std`: the agent's build script and the tests include this file,
//! so that they find what `cargo xtask setup` put in place.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Version of Kubernetes that the programs call themselves; go.mod has the same.
pub(crate) const KUBERNETES: &str = "v1.36.3";
/// Version of mdbook that `book.toml` is written for.
pub(crate) const MDBOOK: &str = "0.5.4";

/// The folder: `$WEIR_CACHE`, else `weir` in the user's cache folder.
pub(crate) fn folder() -> Result<PathBuf, String> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("WEIR_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("weir")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/weir")))
        .ok_or_else(|| "no cache folder: set WEIR_CACHE, XDG_CACHE_HOME or HOME".to_owned())
}

/// Where a program from the crates registry lies.
pub(crate) fn crate_program(name: &str, version: &str) -> Result<PathBuf, String> {
    let root = folder()?.join(format!("{name}-{version}"));
    Ok(root.join("bin").join(name))
}

/// Where the programs of `tests/cluster/MODULE` lie; another go.mod or go.sum means another folder.
pub(crate) fn go_programs(checkout: &Path, module: &str) -> Result<PathBuf, String> {
    let source = checkout.join("tests/cluster").join(module);
    let mut hash = Fnv::new();
    hash.add(KUBERNETES.as_bytes());
    for file in ["go.mod", "go.sum"] {
        let path = source.join(file);
        hash.add(
            &fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        );
    }
    Ok(folder()?
        .join("go")
        .join(format!("{module}-{:016x}", hash.0)))
}

/// FNV-1a: the same in every build of every program, which std's hashers do not promise.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
