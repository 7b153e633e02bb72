//! The programs of an older version, built from this checkout's history, and how a node goes over to them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    controlplane::cache,
    world::{Agent, Programs, until},
};

/// The version with maps of schema 1.
pub const SCHEMA_1: &str = "46d41d9";
/// How long a step of going over may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// For which our programs run on without an agent.
const REST: Duration = Duration::from_secs(1);

/// The programs of a commit, with the flags that they need; built once and kept in the cache.
pub fn programs(commit: &str) -> Result<Programs> {
    let commit = full_name(commit)?;
    let cache = cache::folder().map_err(anyhow::Error::msg)?.join("older");
    fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    // One after the other: others would build the same.
    let lock = fs::File::create(cache.join("lock")).context("make the cache's lock")?;
    lock.lock().context("lock the cache")?;
    let kept = cache.join(&commit);
    if !kept.join("done").exists() {
        build(&commit, &cache, &kept)?;
    }
    Ok(Programs {
        agent: kept.join("proxy-agent"),
        plugin: kept.join("cni-plugin"),
        flags: ["--uplink", "eth0"].map(str::to_owned).to_vec(),
    })
}

/// Our agent leaves, and the older one takes the node over.
pub fn hand_over(agent: &mut Agent, older: &Programs) -> Result<()> {
    agent.terminate()?;
    let before = agent.log().len();
    let mut migration = agent.verb(&["migrate", "--to", "1"])?;
    until("the maps to be migrated", PATIENCE, || {
        let said = agent.log()[before..].contains("start the other version now");
        let ended = migration.ended()?;
        ensure!(
            said || ended.is_none(),
            "it ended: {ended:?}: {}",
            &agent.log()[before..]
        );
        Ok(said.then_some(()))
    })?;
    // As long as an image takes to be pulled, so to speak.
    thread::sleep(REST);
    agent.set_version(Some(older.clone()));
    agent.restart()?;
    let status = until("the node to be handed over", PATIENCE, || migration.ended())?;
    ensure!(status.success(), "{status}: {}", &agent.log()[before..]);
    Ok(())
}

fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
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
