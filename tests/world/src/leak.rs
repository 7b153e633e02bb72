//! What a run must leave as it found it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::cgroup::{self, Cgroup};

/// Fails the test whose teardown failed, unless it is failing already.
pub(super) fn report(teardown: Result<()>) {
    if let Err(error) = teardown {
        if std::thread::panicking() {
            tracing::error!("while a test fails, teardown also failed: {error:#}");
        } else {
            panic!("teardown failed, something leaked: {error:#}");
        }
    }
}

/// The machine outside any world: interfaces, routes, named netns, mounts, pins, cgroups.
///
/// Taken before; [`LeakCheck::verify`] compares with after.
pub struct LeakCheck {
    before: BTreeSet<String>,
}

impl LeakCheck {
    /// Looks at the machine as it is now.
    pub fn new() -> Result<Self> {
        cgroup::sweep()?;
        Ok(Self {
            before: snapshot()?,
        })
    }

    /// Fails when the machine differs from how it was, and names each difference.
    pub fn verify(self) -> Result<()> {
        let Self { before } = self;
        let after = snapshot()?;
        let gone = before.difference(&after).map(|item| format!("- {item}"));
        let new = after.difference(&before).map(|item| format!("+ {item}"));
        let changes: Vec<String> = gone.chain(new).collect();
        ensure!(
            changes.is_empty(),
            "the machine is not as it was before:\n{}",
            changes.join("\n")
        );
        Ok(())
    }

    /// How many things are compared.
    pub fn len(&self) -> usize {
        self.before.len()
    }

    /// Whether there is nothing to compare.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
    }
}

fn snapshot() -> Result<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for (kind, words) in [
        ("link", &["-brief", "link"] as &[&str]),
        ("route", &["-4", "route", "show", "table", "all"]),
        ("route6", &["-6", "route", "show", "table", "all"]),
        ("netns", &["netns", "list"]),
    ] {
        for line in ip(words)?.lines() {
            seen.insert(format!("{kind} {}", stable(kind, line)));
        }
    }
    for line in fs::read_to_string("/proc/self/mountinfo")
        .context("read mountinfo")?
        .lines()
    {
        if let Some(target) = line.split(' ').nth(4) {
            seen.insert(format!("mount {target}"));
        }
    }
    walk("pin", Path::new("/sys/fs/bpf"), &mut seen);
    own_cgroups(&Cgroup::root()?, &mut seen)?;
    Ok(seen)
}

/// The part of a line that does not change by itself.
fn stable<'a>(kind: &str, line: &'a str) -> &'a str {
    match kind {
        "link" | "netns" => line.split([' ', '@']).next().unwrap_or(line),
        // Router advertisements count down.
        _ => line.split(" expires").next().unwrap_or(line),
    }
}

fn ip(words: &[&str]) -> Result<String> {
    let done = Command::new("ip")
        .args(words)
        .output()
        .context("run ip (package iproute2)")?;
    ensure!(
        done.status.success(),
        "ip {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&done.stderr).trim()
    );
    String::from_utf8(done.stdout).context("output of ip")
}

/// The cgroups of this run's worlds. Others come and go by themselves on a machine that is in use.
fn own_cgroups(root: &Cgroup, seen: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(root.path()).context("list cgroups")?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if cgroup::owner(&name) == Some(std::process::id()) {
            seen.insert(format!("cgroup {name}"));
        }
    }
    Ok(())
}

/// All names below a folder; an absent folder has none.
fn walk(kind: &str, folder: &Path, seen: &mut BTreeSet<String>) {
    let entries: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    for path in entries {
        if path.is_dir() {
            walk(kind, &path, seen);
        }
        seen.insert(format!("{kind} {}", path.display()));
    }
}
