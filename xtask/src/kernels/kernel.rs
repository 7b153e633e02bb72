//! A kernel of Debian: its image, and the modules that the tests need.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    run,
    tools::debian::{self, Suite},
};

/// Modules that the tests need, each after those that it depends on.
const MODULES: [&str; 3] = ["veth", "sch_ingress", "cls_bpf"];

/// An unpacked kernel package.
pub(super) struct Kernel {
    folder: PathBuf,
}

impl Kernel {
    /// The newest kernel for virtual machines of a suite.
    pub(super) fn find(suite: Suite) -> Result<Self> {
        let meta = "linux-image-cloud-amd64";
        let package = suite.behind(meta, "linux-image-")?;
        Ok(Self {
            folder: suite.unpack(&package, "")?,
        })
    }

    /// The image that boots.
    pub(super) fn image(&self) -> Result<PathBuf> {
        let boot = self.folder.join("boot");
        fs::read_dir(&boot)
            .with_context(|| format!("cannot read {}", boot.display()))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| name(path).starts_with("vmlinuz-"))
            .ok_or_else(|| anyhow!("no vmlinuz in {}", boot.display()))
    }

    /// Puts the modules, decompressed, into a folder; returns their file names in the order to load them.
    pub(super) fn modules(&self, target: &Path) -> Result<Vec<String>> {
        let mut files = Vec::new();
        collect(&self.folder.join("lib/modules"), &mut files)
            .or_else(|_| collect(&self.folder.join("usr/lib/modules"), &mut files))?;
        let mut names = Vec::new();
        for module in MODULES {
            // A module that the image has built in has no file.
            let Some(file) = files
                .iter()
                .find(|file| name(file).split('.').next() == Some(module))
            else {
                continue;
            };
            let plain = format!("{module}.ko");
            decompress(file, &target.join(&plain))?;
            names.push(plain);
        }
        Ok(names)
    }
}

fn decompress(module: &Path, target: &Path) -> Result<()> {
    if module.extension().is_some_and(|ending| ending == "ko") {
        fs::copy(module, target)
            .with_context(|| format!("cannot copy {} to {}", module.display(), target.display()))?;
        return Ok(());
    }
    let packed = target.with_extension("ko.xz");
    fs::copy(module, &packed)
        .with_context(|| format!("cannot copy {} to {}", module.display(), packed.display()))?;
    run::output(
        Command::new("xz")
            .arg("--decompress")
            .arg("--force")
            .arg(&packed),
    )
    .map(drop)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if name(&entry.path()).contains(".ko") {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Debian's busybox, linked statically: the machine's whole user land.
pub(super) fn busybox() -> Result<PathBuf> {
    debian::host(&[("busybox", "busybox-static")])?;
    ["/bin/busybox", "/usr/bin/busybox"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| anyhow!("no busybox; hint: as root, `apt-get install busybox-static`"))
}
