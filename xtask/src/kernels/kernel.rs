//! A kernel of Debian: its image, and the modules that the tests need.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    arch::Arch,
    run,
    tools::debian::{Repository, Suite},
};

/// Modules that the tests need. Those that they depend on are found.
const MODULES: [&str; 15] = [
    "veth",
    "macvlan",
    "tun",
    "bridge",
    "vxlan",
    "wireguard",
    "ipip",
    "sit",
    "ip_gre",
    "ip6_tunnel",
    "ip6_gre",
    "sch_ingress",
    "cls_bpf",
    "sch_tbf",
    "sch_fq",
];

/// Begins the names of kernels.
const IMAGE: &str = "linux-image-";

/// Unpacked packages of a kernel.
pub(super) struct Kernel {
    /// Release and suite, for people.
    pub(super) name: String,
    /// Every file of the packages.
    files: Vec<PathBuf>,
}

impl Kernel {
    /// The newest kernel of a kind that these suites have for an architecture.
    pub(super) fn find(arch: Arch, kind: &str, suites: &[Suite]) -> Result<Self> {
        let meta = format!("{IMAGE}{}", kind.replace("ARCH", arch.name()));
        let found: Vec<(Repository, String)> = suites
            .iter()
            .map(|suite| {
                let repository = suite.of(arch);
                Ok((repository, repository.behind(&meta, IMAGE)?))
            })
            .collect::<Result<_>>()?;
        let newest = found
            .into_iter()
            .max_by_key(|(_, package)| version(package));
        let (repository, image) = newest.context("a kernel of no suite")?;
        let mut files = Vec::new();
        for package in parts(repository, &image)? {
            collect(&repository.unpack(&package, "")?, &mut files)?;
        }
        let release = image.trim_start_matches(IMAGE);
        let name = format!("{release} of {}", repository.suite().name());
        Ok(Self { name, files })
    }

    /// The image that boots.
    pub(super) fn image(&self) -> Result<&Path> {
        let image = self.find_file(|name| name.starts_with("vmlinuz"));
        image.ok_or_else(|| anyhow!("no vmlinuz in the packages of {}", self.name))
    }

    /// Puts the modules, decompressed, into a folder; returns their file names in the order to load them.
    pub(super) fn modules(&self, target: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for module in MODULES {
            self.module(module, target, &mut names)?;
        }
        Ok(names)
    }

    /// A module, after those that it depends on.
    fn module(&self, module: &str, target: &Path, names: &mut Vec<String>) -> Result<()> {
        let plain = format!("{module}.ko");
        // One that the image has built in has no file.
        let Some(file) = self.find_file(|name| is_module(name, module)) else {
            return Ok(());
        };
        if names.contains(&plain) {
            return Ok(());
        }
        let unpacked = target.join(&plain);
        decompress(file, &unpacked)?;
        let content =
            fs::read(&unpacked).with_context(|| format!("cannot read {}", unpacked.display()))?;
        for needed in dependencies(&content) {
            self.module(&needed, target, names)?;
        }
        names.push(plain);
        Ok(())
    }

    fn find_file(&self, is_it: impl Fn(&str) -> bool) -> Option<&Path> {
        let mut files = self.files.iter();
        files.find(|path| is_it(&name(path))).map(PathBuf::as_path)
    }
}

/// Whether a file is a module of this name, in which `-` and `_` are one.
fn is_module(file: &str, module: &str) -> bool {
    let name = file.strip_suffix(".xz").unwrap_or(file).strip_suffix(".ko");
    name.is_some_and(|name| name.replace('-', "_") == module.replace('-', "_"))
}

/// What a module says that it depends on (`modinfo -F depends`).
fn dependencies(module: &[u8]) -> Vec<String> {
    let fields = module.split(|byte| *byte == 0);
    let listed = fields.filter_map(|field| field.strip_prefix(b"depends="));
    let words = listed.flat_map(|names| names.split(|byte| *byte == b','));
    words
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// The packages of a kernel: since 7.3 image and modules are in packages of their own.
fn parts(repository: Repository, image: &str) -> Result<Vec<String>> {
    let release = image.trim_start_matches(IMAGE);
    let parts = ["linux-binary-", "linux-modules-"].map(|part| format!("{part}{release}"));
    let mut packages = repository.dependencies(image)?;
    packages.retain(|package| parts.contains(package));
    packages.push(image.to_owned());
    Ok(packages)
}

/// The numbers of a kernel's release.
fn version(package: &str) -> Vec<u32> {
    let release = package.trim_start_matches(IMAGE);
    let numbers = release.split(|letter: char| !letter.is_ascii_digit());
    numbers.map_while(|number| number.parse().ok()).collect()
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
        } else {
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

/// Debian's busybox, linked statically: the machine's whole user land. Not the host's, which may need libraries.
pub(super) fn busybox(arch: Arch) -> Result<PathBuf> {
    let folder = Suite::Bookworm.of(arch).unpack("busybox-static", "")?;
    Ok(folder.join("bin/busybox"))
}

#[cfg(test)]
mod tests {
    use super::{dependencies, is_module, version};

    #[test]
    fn modules_say_what_they_depend_on() {
        let module = b"\x7fELF\0license=GPL\0depends=udp_tunnel,libchacha\0name=wireguard\0";
        assert_eq!(dependencies(module), ["udp_tunnel", "libchacha"]);
        assert!(dependencies(b"depends=\0").is_empty());
        assert!(is_module("curve25519-x86_64.ko.xz", "curve25519_x86_64"));
        assert!(!is_module("vxlan.ko.sig", "vxlan"));
    }

    #[test]
    fn kernels_are_ordered_by_their_numbers() {
        let packages = [
            "6.1.0-50-cloud",
            "6.12.117+deb13-cloud",
            "7.3.4+deb13-cloud",
            "7.12-cloud",
        ];
        let versions = packages.map(|package| version(&format!("linux-image-{package}-amd64")));
        assert!(versions.is_sorted(), "{versions:?}");
        assert_eq!(versions[1], [6, 12, 117]);
    }
}
