//! The programs of an older version, built from this checkout's history.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// The version with maps of schema 1.
pub const SCHEMA_1: &str = "46d41d9";

/// An older version's programs.
#[derive(Clone, Debug)]
pub struct Older {
    /// `proxy-agent`.
    pub agent: PathBuf,
    /// `cni-plugin`.
    pub plugin: PathBuf,
}

impl Older {
    /// Those of a commit; built once and kept in the cache.
    pub fn of(commit: &str) -> Result<Self> {
        let commit = full_name(commit)?;
        let cache = cache()?.join("older");
        fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
        // One after the other: others would build the same.
        let lock = fs::File::create(cache.join("lock")).context("make the cache's lock")?;
        lock.lock().context("lock the cache")?;
        let kept = cache.join(&commit);
        if !kept.join("done").exists() {
            build(&commit, &cache, &kept)?;
        }
        Ok(Self {
            agent: kept.join("proxy-agent"),
            plugin: kept.join("cni-plugin"),
        })
    }
}

fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// As `xtask` has it.
fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("WEIR_CACHE") {
        return Ok(folder.into());
    }
    let user = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let folder = user
        .or_else(home)
        .context("neither WEIR_CACHE nor HOME is set")?;
    Ok(folder.join("weir"))
}

fn git() -> Command {
    let mut git = Command::new("git");
    // A checkout of another user, as in a container.
    git.arg("-c").arg("safe.directory=*").current_dir(root());
    git
}

fn full_name(commit: &str) -> Result<String> {
    let name = format!("{commit}^{{commit}}");
    let done = git()
        .args(["rev-parse", "--verify", "--quiet", &name])
        .output()
        .context("run git")?;
    ensure!(
        done.status.success(),
        "commit {commit} is not in this checkout\nhint: `git fetch --unshallow` (a clone of limited depth has no history; \
         on CI, `fetch-depth: 0`)"
    );
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn build(commit: &str, cache: &Path, kept: &Path) -> Result<()> {
    // Always the same path, of which cargo makes names.
    let source = cache.join("source");
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("remove {}", source.display()))?;
    }
    fs::create_dir_all(&source).with_context(|| format!("create {}", source.display()))?;
    unpack(commit, &source)?;
    let target = cache.join("target");
    let log = cache.join("build.log");
    let file = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let built = Command::new("cargo")
        .args([
            "build",
            "--locked",
            "--bins",
            "--package",
            "proxy-agent",
            "--package",
            "cni-plugin",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&source)
        // What cargo tells a test about its own package.
        .env_remove("CARGO_MANIFEST_DIR")
        .env("CARGO_INCREMENTAL", "0")
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .context("run cargo")?;
    if !built.success() {
        let log = fs::read_to_string(&log).unwrap_or_default();
        bail!("{commit} was not built: {built}\n{log}");
    }
    fs::create_dir_all(kept).with_context(|| format!("create {}", kept.display()))?;
    for program in ["proxy-agent", "cni-plugin"] {
        let from = target.join("debug").join(program);
        fs::copy(&from, kept.join(program)).with_context(|| format!("keep {}", from.display()))?;
    }
    // Large, and of no more use.
    for folder in [source, target] {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::write(kept.join("done"), "").context("note that the programs are whole")
}

/// The files of a commit.
fn unpack(commit: &str, folder: &Path) -> Result<()> {
    let mut archive = git()
        .args(["archive", commit])
        .stdout(Stdio::piped())
        .spawn()
        .context("run git archive")?;
    let files = archive.stdout.take().context("no output of git archive")?;
    tar::Archive::new(files)
        .unpack(folder)
        .with_context(|| format!("unpack {commit}"))?;
    let status = archive.wait().context("wait for git archive")?;
    ensure!(status.success(), "git archive: {status}");
    Ok(())
}
