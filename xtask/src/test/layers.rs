//! Which layers there are: the unit tests of all crates, the files of `tests/tests` grouped by first word, and
//! the kernels that Weir supports.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{arch::Arch, paths, run};

/// From what is quick and tells most, to what takes long.
const ORDER: [&str; 7] = [
    "unit",
    "packets",
    "world",
    "scenarios",
    "controlplane",
    "cluster",
    "containerd",
];

/// Tells tests to run in their long form.
const LONG: &str = "WEIR_LONG";

/// In the names of tests that only the long form has: those that need the programs of an older version, which are built from
/// the history (it takes minutes, and a clone of limited depth has none), and those that kill agents while they exchange maps.
pub(super) const LONG_ONLY: [&str; 2] = ["schema_1", "killed_while_it_resizes"];

/// Whose kernels tests run on: the long form has emulated machines of every architecture.
pub(super) const fn architectures(long: bool) -> &'static [Arch] {
    if long { &Arch::ALL } else { &[Arch::HOST] }
}

/// Tests at a time where most of the time is waiting.
const WAITING: u32 = 3;

/// Test targets that need the machine to themselves: they bring it to its limit, or count what it holds.
const ALONE: [&str; 5] = [
    "flow_race",
    "memory",
    "memory_pods",
    "world_flood",
    "world_leaks",
];

/// A layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// Unit tests of all crates: no privileges.
    Unit,
    /// Test targets of package `weir-tests` whose names share their first word.
    Targets(String, Vec<String>),
    /// Tests on other kernels than this machine's.
    Kernels,
}

/// A part of a layer that is run at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// [`Layer::Unit`].
    Unit,
    /// A test target.
    Target(String),
    /// [`Layer::Kernels`].
    Kernels,
}

/// Beside what a job may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One of the lanes: its tests have worlds of their own.
    Lane,
    /// A lane of its own: it has machines of its own, or nothing but processes and ports that are its own, and mostly waits.
    Apart,
    /// Nothing.
    Alone,
}

impl Layer {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Unit => "unit",
            Self::Targets(name, _) => name,
            Self::Kernels => "kernels",
        }
    }

    /// What there is to run.
    pub(super) fn jobs(&self) -> Vec<Job> {
        match self {
            Self::Unit => vec![Job::Unit],
            Self::Targets(_, targets) => targets.iter().cloned().map(Job::Target).collect(),
            Self::Kernels => vec![Job::Kernels],
        }
    }
}

impl Job {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Unit => "unit",
            Self::Target(name) => name,
            Self::Kernels => "kernels",
        }
    }

    /// Beside what it may run.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Kernels => Place::Apart,
            Self::Target(name) if ALONE.contains(&name.as_str()) => Place::Alone,
            Self::Target(name) if name.starts_with("controlplane") => Place::Apart,
            Self::Unit | Self::Target(_) => Place::Lane,
        }
    }

    /// The `cargo test` that runs it here; none for what runs elsewhere.
    pub(super) fn command(&self, filter: Option<&str>, long: bool) -> Option<Command> {
        let mut cargo = run::cargo();
        if long {
            cargo.env(LONG, "1");
        }
        // The whole workspace always: with other features unified, the dependencies would be compiled again.
        cargo.args(["test", "--locked", "--no-fail-fast", "--workspace"]);
        match self {
            Self::Unit => {
                cargo.args(["--lib", "--bins"]).args(filter);
            }
            Self::Target(target) => {
                // Namespaces, programs and CPU time are shared: one test at a time, but where most of the time is waiting.
                let threads = if self.place() == Place::Apart {
                    WAITING
                } else {
                    1
                };
                let threads = format!("--test-threads={threads}");
                cargo.args(["--test", target]).args(filter);
                cargo.args(["--", &threads]);
                let asked = |name: &str| filter.is_some_and(|filter| filter.contains(name));
                for name in LONG_ONLY.iter().filter(|name| !long && !asked(name)) {
                    cargo.args(["--skip", name]);
                }
            }
            Self::Kernels => return None,
        }
        Some(cargo)
    }

    /// The `cargo test` that runs tests of a target that failed, or all of it if it is not known which, with the machine to
    /// themselves.
    pub(super) fn again(&self, failed: &[String], long: bool) -> Option<Command> {
        let Self::Target(_) = self else {
            return None;
        };
        let mut cargo = self.command(None, long)?;
        if !failed.is_empty() {
            cargo.arg("--exact").args(failed);
        }
        Some(cargo)
    }
}

/// The named layers, or all.
pub(super) fn choose(names: &[String]) -> Result<Vec<Layer>> {
    let folder = paths::root().join("tests/tests");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let all = group(files.filter_map(|file| file.strip_suffix(".rs").map(str::to_owned)));
    if names.is_empty() {
        return Ok(all);
    }
    let known: Vec<&str> = all.iter().map(Layer::name).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!(
            anyhow!("no layer `{unknown}`")
                .context(format!("hint: layers are {}", known.join(", ")))
        );
    }
    Ok(all
        .into_iter()
        .filter(|layer| names.iter().any(|name| name == layer.name()))
        .collect())
}

fn group(targets: impl Iterator<Item = String>) -> Vec<Layer> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for target in targets {
        let word = target.split('_').next().unwrap_or(&target).to_owned();
        groups.entry(word).or_default().push(target);
    }
    let mut layers = vec![Layer::Unit];
    for (name, mut targets) in groups {
        targets.sort();
        layers.push(Layer::Targets(name, targets));
    }
    // Unknown ones come after the known, by name: sorting is stable.
    layers.sort_by_key(|layer| {
        ORDER
            .iter()
            .position(|name| *name == layer.name())
            .unwrap_or(ORDER.len())
    });
    layers.push(Layer::Kernels);
    layers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_grouped_by_first_word_in_the_order_of_the_layers() {
        let layers = group(
            ["world_leaks", "controlplane", "bad_input", "world"]
                .into_iter()
                .map(str::to_owned),
        );
        let names: Vec<&str> = layers.iter().map(Layer::name).collect();
        assert_eq!(names, ["unit", "world", "controlplane", "bad", "kernels"]);
        let targets = ["world", "world_leaks"].map(str::to_owned).to_vec();
        assert_eq!(layers[1], Layer::Targets("world".to_owned(), targets));
    }

    #[test]
    fn tests_hear_of_their_long_form_only_when_it_is_wanted() {
        let job = Job::Target("packet_machine".to_owned());
        let hears = |long| {
            let cargo = job.command(None, long).unwrap();
            cargo
                .get_envs()
                .any(|(name, value)| name == LONG && value.is_some())
        };
        assert!(hears(true) && !hears(false));
    }

    #[test]
    fn what_failed_is_run_again_by_name() {
        let words = |job: Job, failed: &[&str]| {
            let failed: Vec<String> = failed.iter().map(|name| (*name).to_owned()).collect();
            let cargo = job.again(&failed, false)?;
            let words = cargo
                .get_args()
                .map(|word| word.to_string_lossy().into_owned());
            Some(words.collect::<Vec<_>>().join(" "))
        };
        let target = || Job::Target("world".to_owned());
        let named = words(target(), &["a::b"]).unwrap();
        assert!(named.contains("--test world -- ") && named.ends_with("--exact a::b"));
        assert!(!words(target(), &[]).unwrap().contains("--exact"));
        assert_eq!(words(Job::Unit, &["a"]), None);
    }

    #[test]
    fn the_long_form_has_kernels_of_another_architecture() {
        assert_eq!(architectures(false), [Arch::HOST]);
        assert_eq!(architectures(true).len(), 2);
    }

    #[test]
    fn what_is_long_only_runs_when_it_is_asked_for() {
        let job = Job::Target("world_upgrade".to_owned());
        let skips = |filter, long| {
            let cargo = job.command(filter, long).unwrap();
            cargo.get_args().any(|word| word == "schema_1")
        };
        assert!(skips(None, false) && skips(Some("served"), false));
        assert!(!skips(None, true) && !skips(Some("schema_1::"), false));
    }
}
