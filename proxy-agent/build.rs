//! Compiles the programs in the kernel and puts their object where the agent embeds it:
//! `include_bytes!(concat!(env!("OUT_DIR"), "/proxy-ebpf.o"))`.

use std::env;
use std::path::Path;
use std::process::Command;

#[path = "../xtask/src/bpf.rs"]
mod bpf;
#[path = "../xtask/src/cache.rs"]
#[expect(dead_code, reason = "the other half finds Go programs")]
mod cache;

fn main() {
    // Not as of the compilation of this script: a copied target folder brings it along.
    let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let root = Path::new(&here).join("..");
    for path in [
        "proxy-ebpf/src",
        "proxy-ebpf/Cargo.toml",
        "proxy-common/src",
        "proxy-common/Cargo.toml",
        "xtask/src/bpf.rs",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-env-changed=WEIR_CACHE");
    println!("cargo::rustc-env=WEIR_RUSTC={}", compiler());
    let built = env::var("OUT_DIR")
        .map_err(|error| error.to_string())
        .and_then(|out| bpf::build(&root, Path::new(&out)));
    if let Err(error) = built {
        for line in error.lines() {
            println!("cargo::error={line}");
        }
    }
}

/// What compiles the agent, in its own words; it is asked again where it is another.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output();
    said.ok()
        .and_then(|said| String::from_utf8(said.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |said| said.trim().to_owned())
}
