//! Debian packages of other suites and architectures than the host's, unpacked side by side into the cache.
//!
//! Nothing is installed: a package is a folder of files, keyed by name, version and, if it is not the host's, architecture.

use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};

use crate::arch::Arch;
use crate::{paths, run, say};

mod apt;
mod host;

use apt::Apt;
pub(crate) use host::{host, mirror};

/// A suite of Debian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// The oldest one whose programs all our machines run.
    Bookworm,
    /// The one after it.
    Trixie,
    /// Newer programs for trixie: where the compiler's sources are kept in step.
    Backports,
    /// The newest of all.
    Sid,
}

impl Suite {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Backports => "trixie-backports",
            Self::Sid => "sid",
        }
    }

    /// Its packages for an architecture.
    pub(crate) fn of(self, arch: Arch) -> Repository {
        Repository { suite: self, arch }
    }

    /// The files of `package` for this machine in the newest version that starts with `version`; returns their folder.
    pub(crate) fn unpack(self, package: &str, version: &str) -> Result<PathBuf> {
        self.of(Arch::HOST).unpack(package, version)
    }
}

/// The packages of a suite for one architecture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repository {
    suite: Suite,
    arch: Arch,
}

impl Repository {
    /// Its suite.
    pub(crate) fn suite(self) -> Suite {
        self.suite
    }

    /// The package behind a meta-package: its first dependency that starts with `prefix`.
    pub(crate) fn behind(self, meta: &str, prefix: &str) -> Result<String> {
        let all = self.dependencies(meta)?;
        let found = all.into_iter().find(|package| package.starts_with(prefix));
        found.ok_or_else(|| {
            anyhow!(
                "{meta} of Debian {} depends on no {prefix}…",
                self.suite.name()
            )
            .context(self.absent())
        })
    }

    /// What a package depends on.
    pub(crate) fn dependencies(self, package: &str) -> Result<Vec<String>> {
        let apt = Apt::new(self)?;
        let listed = run::output(apt.command("apt-cache").args(["depends", package]))
            .with_context(|| self.absent())?;
        Ok(dependencies(&listed).map(str::to_owned).collect())
    }

    /// The files of `package` in the newest version that starts with `version`; returns their folder.
    pub(crate) fn unpack(self, package: &str, version: &str) -> Result<PathBuf> {
        let key = if version.is_empty() {
            self.suite.name()
        } else {
            version.trim_end_matches(['+', '.', '~'])
        };
        let folder = paths::cache()?
            .join("debian")
            .join(format!("{package}-{key}{}", self.suffix()));
        if folder.exists() {
            return Ok(folder);
        }
        say::step(
            &format!(
                "unpack {package} {version} from Debian {}",
                self.suite.name()
            ),
            || {
                let apt = Apt::new(self)?;
                let exact = apt.newest(package, version)?;
                apt.unpack(package, &exact, &folder)
            },
        )
        .with_context(|| self.absent())?;
        Ok(folder)
    }

    /// Tells what is of another architecture from what is of the host's, in names of folders.
    fn suffix(self) -> String {
        if self.arch == Arch::HOST {
            return String::new();
        }
        format!("-{}", self.arch.name())
    }

    fn absent(self) -> String {
        format!(
            "hint: is the Debian mirror reachable, and does {} still have it? (WEIR_DEBIAN_MIRROR names another)",
            self.suite.name()
        )
    }
}

/// The dependencies in `apt-cache depends`' output.
fn dependencies(depends: &str) -> impl Iterator<Item = &str> {
    let lines = depends.lines().map(str::trim);
    lines.filter_map(|line| line.strip_prefix("Depends: "))
}

#[cfg(test)]
mod tests {
    use super::dependencies;

    #[test]
    fn what_a_package_depends_on_is_read() {
        let depends = "linux-image-cloud-amd64\n  PreDepends: linux-base\n  Depends: linux-image-6.1.0-40-cloud-amd64\n \
                       |Depends: <dracut>\n  Depends: kmod\n";
        let found: Vec<&str> = dependencies(depends).collect();
        assert_eq!(found, ["linux-image-6.1.0-40-cloud-amd64", "kmod"]);
    }
}
