//! apt with lists, cache and sources of its own, so that the host's is left alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use super::Repository;
use super::host::{host, mirror};
use crate::{paths, run};

/// Debian's signing keys, on the host.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt with lists and sources of one suite, for one architecture.
pub(super) struct Apt {
    of: Repository,
    folder: PathBuf,
}

impl Apt {
    /// With lists that are fresh.
    pub(super) fn new(of: Repository) -> Result<Self> {
        // Ubuntu has it in a package.
        host(&[(KEYRING, "debian-archive-keyring")])?;
        let suite = of.suite.name();
        let folder = paths::cache()?
            .join("apt")
            .join(format!("{suite}{}", of.suffix()));
        for part in ["lists/partial", "cache/archives/partial", "state", "deb"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let line = format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror()?);
        fs::write(folder.join("sources.list"), line)?;
        let apt = Self { of, folder };
        run::output(apt.command("apt-get").arg("update"))
            .context("cannot read the suite's lists")
            .with_context(|| of.absent())?;
        Ok(apt)
    }

    /// A program of apt.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let options = [
            ("Dir::Etc::sourcelist", self.folder.join("sources.list")),
            ("Dir::Etc::sourceparts", PathBuf::from("-")),
            ("Dir::State", self.folder.join("state")),
            ("Dir::State::lists", self.folder.join("lists")),
            ("Dir::State::status", PathBuf::from("/dev/null")),
            ("Dir::Cache", self.folder.join("cache")),
        ];
        for (name, value) in options {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        }
        let name = self.of.arch.name();
        for option in ["APT::Architecture", "APT::Architectures"] {
            command.arg("-o").arg(format!("{option}={name}"));
        }
        // The download folder is root's; apt's unprivileged user could not write there and would warn.
        command.args(["-o", "APT::Sandbox::User=root", "-qq"]);
        command
    }

    /// The newest version of a package that starts with `prefix`.
    pub(super) fn newest(&self, package: &str, prefix: &str) -> Result<String> {
        let listed = run::output(self.command("apt-cache").args(["madison", package]))?;
        let found = newest_of(&listed, prefix);
        found.ok_or_else(|| anyhow!("Debian {} has no {package} {prefix}", self.of.suite.name()))
    }

    /// Puts the files of a package into a folder.
    pub(super) fn unpack(&self, package: &str, version: &str, folder: &Path) -> Result<()> {
        let debs = self.folder.join("deb").join(package);
        fs::create_dir_all(&debs)?;
        run::output(
            self.command("apt-get")
                .current_dir(&debs)
                .arg("download")
                .arg(format!("{package}={version}")),
        )?;
        let deb = only_file(&debs)?;
        let fresh = folder.with_extension(format!("new-{}", std::process::id()));
        fs::create_dir_all(&fresh).with_context(|| format!("cannot create {}", fresh.display()))?;
        run::output(Command::new("dpkg").arg("-x").arg(&deb).arg(&fresh))?;
        fs::rename(&fresh, folder).with_context(|| {
            format!("cannot rename {} to {}", fresh.display(), folder.display())
        })?;
        fs::remove_dir_all(&debs)?;
        Ok(())
    }
}

/// The newest version in `apt-cache madison`'s output (newest first) that starts with `prefix`.
fn newest_of(madison: &str, prefix: &str) -> Option<String> {
    let versions = madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim);
    versions
        .filter(|version| version.starts_with(prefix))
        .map(str::to_owned)
        .next()
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    match (files.pop(), files.len()) {
        (Some(file), 0) => Ok(file),
        (_, more) => bail!("expected one file in {}, found {}", folder.display(), more),
    }
}

#[cfg(test)]
mod tests {
    use super::newest_of;

    const MADISON: &str = "  rust-src | 1.96.1+dfsg1-2~bpo13+1 | mirror trixie-backports/main amd64 Packages\n  \
                           rust-src | 1.95.0+dfsg1-2~bpo13+1 | mirror trixie-backports/main amd64 Packages";

    #[test]
    fn newest_version_of_the_wanted_release_is_chosen() {
        assert_eq!(
            newest_of(MADISON, "1.95.0+").as_deref(),
            Some("1.95.0+dfsg1-2~bpo13+1")
        );
        assert_eq!(
            newest_of(MADISON, "").as_deref(),
            Some("1.96.1+dfsg1-2~bpo13+1")
        );
        assert_eq!(newest_of(MADISON, "2."), None);
    }
}
