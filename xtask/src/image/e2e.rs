//! The images that a cluster and upstream's network tests ask for (`e2e.test --list-images`), under their names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::archive::{self, Image};
use super::layer::Layer;
use super::root;
use crate::arch::Arch;
use crate::tools::{debian::Suite, go};
use crate::{paths, run, say};

/// Names that the test image goes by: agnhost, and others that need no more than its tools.
const AGNHOST: [&str; 4] = [
    "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
    "registry.k8s.io/e2e-test-images/agnhost:2.55",
    "registry.k8s.io/e2e-test-images/glibc-dns-testing:2.0.0",
    "registry.k8s.io/build-image/distroless-iptables:v0.9.6",
];
const BUSYBOX: [&str; 2] = [
    "registry.k8s.io/e2e-test-images/busybox:1.36.1-1",
    "registry.k8s.io/e2e-test-images/busybox:1.37.0-1",
];
const COREDNS: &str = "registry.k8s.io/coredns/coredns:v1.15.0";
const ISSUE_74839: &str = "registry.k8s.io/e2e-test-images/regression-issue-74839:1.4";

/// The archive of all of them, made once for a set of programs.
pub(crate) fn archive() -> Result<PathBuf> {
    let agnhost = go::AGNHOST.ensure()?;
    let key = agnhost
        .parent()
        .and_then(Path::file_name)
        .context("agnhost has no folder")?;
    let folder = paths::cache()?.join("images");
    let path = folder.join(format!("e2e-{}.tar", key.to_string_lossy()));
    if path.exists() {
        return Ok(path);
    }
    let scratch = folder.join("layers");
    std::fs::create_dir_all(&scratch)?;
    let images = [
        agnhost_image(&scratch)?,
        busybox(&scratch)?,
        pause(&scratch)?,
        coredns(&scratch)?,
        issue(&scratch)?,
    ];
    say::step("write the images of the cluster", || {
        archive::write(&images, &path)
    })?;
    Ok(path)
}

fn agnhost_image(scratch: &Path) -> Result<Image> {
    let base = root::tar()?;
    // Its `porter` serves TLS with these.
    let (key, cert) = (scratch.join("localhost.key"), scratch.join("localhost.crt"));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "3650",
        "-subj",
        "/CN=localhost",
    ]);
    openssl
        .args([
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&cert);
    run::output(&mut openssl)?;

    let mut layer = Layer::create(scratch.join("agnhost.tar"))?;
    layer.program("agnhost", &go::AGNHOST.ensure()?)?;
    // The configurable resolv.conf test starts it from here.
    layer.program("coredns", &go::COREDNS.ensure()?)?;
    layer.file("localhost.key", &key, 0o644)?;
    layer.file("localhost.crt", &cert, 0o644)?;
    Ok(Image {
        names: names(&AGNHOST),
        arch: Arch::HOST,
        layers: vec![base, layer.finish()?],
        entrypoint: vec!["/agnhost"],
        command: vec!["pause"],
        labels: BTreeMap::new(),
    })
}

fn busybox(scratch: &Path) -> Result<Image> {
    let program = Suite::Bookworm
        .unpack("busybox-static", "")?
        .join("bin/busybox");
    let applets = run::output(Command::new(&program).arg("--list"))?;
    let mut layer = Layer::create(scratch.join("busybox.tar"))?;
    for (folder, mode) in [
        ("bin", 0o755),
        ("etc", 0o755),
        ("tmp", 0o1777),
        ("var", 0o755),
        ("root", 0o700),
    ] {
        layer.folder(folder, mode)?;
    }
    layer.program("bin/busybox", &program)?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        layer.link(&format!("bin/{applet}"), "busybox")?;
    }
    Ok(Image {
        names: names(&BUSYBOX),
        arch: Arch::HOST,
        layers: vec![layer.finish()?],
        entrypoint: Vec::new(),
        command: vec!["sh"],
        labels: BTreeMap::new(),
    })
}

fn pause(scratch: &Path) -> Result<Image> {
    let program = scratch.join("pause");
    let source = paths::root().join("tests/cluster/images/pause.rs");
    let mut rustc = Command::new("rustc");
    rustc.current_dir(paths::root()).args([
        "--edition=2024",
        "-O",
        "-Cpanic=abort",
        "-Cstrip=symbols",
    ]);
    rustc
        .args(["-Ctarget-feature=+crt-static", "-o"])
        .arg(&program)
        .arg(source);
    run::output(&mut rustc)?;
    let mut layer = Layer::create(scratch.join("pause.tar"))?;
    layer.program("pause", &program)?;
    Ok(one(crate::cluster::SANDBOX, layer.finish()?, "/pause"))
}

fn coredns(scratch: &Path) -> Result<Image> {
    let mut layer = Layer::create(scratch.join("coredns.tar"))?;
    layer.program("coredns", &go::COREDNS.ensure()?)?;
    Ok(one(COREDNS, layer.finish()?, "/coredns"))
}

fn issue(scratch: &Path) -> Result<Image> {
    let mut layer = Layer::create(scratch.join("issue-74839.tar"))?;
    layer.program("regression-issue-74839", &go::ISSUE_74839.ensure()?)?;
    Ok(one(ISSUE_74839, layer.finish()?, "/regression-issue-74839"))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn one(name: &'static str, layer: PathBuf, entrypoint: &'static str) -> Image {
    Image {
        names: names(&[name]),
        arch: Arch::HOST,
        layers: vec![layer],
        entrypoint: vec![entrypoint],
        command: Vec::new(),
        labels: BTreeMap::new(),
    }
}
