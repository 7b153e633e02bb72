//! Debian packages of other suites than the host's, unpacked side by side into the cache.
//!
//! apt runs with lists, cache and sources of its own, so the host's apt is left alone.
//! Nothing is installed: a package is a folder of files, keyed by name and version.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{paths, run, say};

/// Debian's signing keys, on the host.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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

    /// The package behind a meta-package: its first dependency that starts with `prefix`.
    pub(crate) fn behind(self, meta: &str, prefix: &str) -> Result<String> {
        let all = self.dependencies(meta)?;
        let found = all.into_iter().find(|package| package.starts_with(prefix));
        found.ok_or_else(|| {
            anyhow!("{meta} of Debian {} depends on no {prefix}…", self.name())
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
            self.name()
        } else {
            version.trim_end_matches(['+', '.', '~'])
        };
        let folder = paths::cache()?
            .join("debian")
            .join(format!("{package}-{key}"));
        if folder.exists() {
            return Ok(folder);
        }
        say::step(
            &format!("unpack {package} {version} from Debian {}", self.name()),
            || {
                let apt = Apt::new(self)?;
                let exact = apt.newest(package, version)?;
                apt.unpack(package, &exact, &folder)
            },
        )
        .with_context(|| self.absent())?;
        Ok(folder)
    }

    fn absent(self) -> String {
        format!(
            "hint: is the Debian mirror reachable, and does {} still have it? (WEIR_DEBIAN_MIRROR names another)",
            self.name()
        )
    }
}

/// apt with lists and sources of one suite.
struct Apt {
    suite: Suite,
    folder: PathBuf,
}

impl Apt {
    fn new(suite: Suite) -> Result<Self> {
        // Ubuntu has it in a package.
        host(&[(KEYRING, "debian-archive-keyring")])?;
        let folder = paths::cache()?.join("apt").join(suite.name());
        for part in ["lists/partial", "cache/archives/partial", "state", "deb"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let line = format!(
            "deb [signed-by={KEYRING}] {} {} main\n",
            mirror()?,
            suite.name()
        );
        fs::write(folder.join("sources.list"), line)?;
        let apt = Self { suite, folder };
        run::output(apt.command("apt-get").arg("update"))
            .context("cannot read the suite's lists")
            .with_context(|| suite.absent())?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
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
        // The download folder is root's; apt's unprivileged user could not write there and would warn.
        command.args(["-o", "APT::Sandbox::User=root", "-qq"]);
        command
    }

    fn newest(&self, package: &str, prefix: &str) -> Result<String> {
        let listed = run::output(self.command("apt-cache").args(["madison", package]))?;
        let found = newest_of(&listed, prefix);
        found.ok_or_else(|| anyhow!("Debian {} has no {package} {prefix}", self.suite.name()))
    }

    fn unpack(&self, package: &str, version: &str, folder: &Path) -> Result<()> {
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

/// The dependencies in `apt-cache depends`' output.
fn dependencies(depends: &str) -> impl Iterator<Item = &str> {
    let lines = depends.lines().map(str::trim);
    lines.filter_map(|line| line.strip_prefix("Depends: "))
}

/// The Debian mirror: `$WEIR_DEBIAN_MIRROR`, else the one that the host's apt uses.
pub(crate) fn mirror() -> Result<String> {
    if let Ok(mirror) = env::var("WEIR_DEBIAN_MIRROR") {
        return Ok(mirror);
    }
    let format = "$(ORIGIN) $(COMPONENT) $(REPO_URI) $(RELEASE)";
    let listed = run::output(Command::new("apt-get").args(["indextargets", "--format", format]))?;
    let uri = listed
        .lines()
        .filter_map(|line| line.strip_prefix("Debian main "))
        .find(|rest| !rest.contains("-security"));
    uri.and_then(|rest| rest.split(' ').next())
        .map(|uri| uri.trim_end_matches('/').to_owned())
        .ok_or_else(|| {
            anyhow!("apt knows no Debian mirror")
                .context("hint: run `apt-get update`, or set WEIR_DEBIAN_MIRROR")
        })
}

/// Installs the host's own packages for the programs, or whole paths, that are missing: `(program, package)`.
pub(crate) fn host(programs: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    say::step(&format!("install {} by apt-get", missing.join(" ")), || {
        let log = paths::log("apt-get")?;
        run::logged(Command::new("apt-get").args(["update", "-q"]), &log)?;
        let mut install = Command::new("apt-get");
        install
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-qy", "--no-install-recommends"])
            .args(&missing);
        run::logged(&mut install, &log)
    })
    .with_context(|| format!("hint: as root, `apt-get install {}`", missing.join(" ")))
}

/// Whether a program is on the PATH, or where root's programs are.
fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).exists())
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
    use super::{dependencies, newest_of};

    #[test]
    fn what_a_package_depends_on_is_read() {
        let depends = "linux-image-cloud-amd64\n  PreDepends: linux-base\n  Depends: linux-image-6.1.0-40-cloud-amd64\n \
                       |Depends: <dracut>\n  Depends: kmod\n";
        let found: Vec<&str> = dependencies(depends).collect();
        assert_eq!(found, ["linux-image-6.1.0-40-cloud-amd64", "kmod"]);
    }

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
