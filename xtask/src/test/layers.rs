//! Which layers there are: the unit tests of all crates, then the files of `tests/tests`, grouped by first word.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::paths;

/// From what is quick and tells most, to what takes long.
const ORDER: [&str; 6] = [
    "unit",
    "packets",
    "world",
    "scenarios",
    "controlplane",
    "containerd",
];

/// A layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    name: String,
    /// Test targets of package `weir-tests`; none for the unit tests.
    targets: Vec<String>,
}

impl Layer {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it needs no privileges.
    pub(super) fn is_unit(&self) -> bool {
        self.targets.is_empty()
    }

    /// The command that runs it.
    pub(super) fn command(&self, filter: Option<&str>) -> Command {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(paths::root())
            .args(["test", "--locked", "--no-fail-fast"]);
        if self.is_unit() {
            cargo.args(["--workspace", "--lib", "--bins"]).args(filter);
            return cargo;
        }
        // The whole workspace here too: with other features unified, the dependencies would be compiled again.
        cargo.arg("--workspace");
        for target in &self.targets {
            cargo.args(["--test", target]);
        }
        cargo.args(filter);
        // Namespaces, programs and CPU time are shared: one test at a time.
        cargo.args(["--", "--test-threads=1"]);
        cargo
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
    let known: Vec<String> = all.iter().map(|layer| layer.name.clone()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!(
            anyhow!("no layer `{unknown}`")
                .context(format!("hint: layers are {}", known.join(", ")))
        );
    }
    Ok(all
        .into_iter()
        .filter(|layer| names.contains(&layer.name))
        .collect())
}

fn group(targets: impl Iterator<Item = String>) -> Vec<Layer> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    groups.insert("unit".to_owned(), Vec::new());
    for target in targets {
        let word = target.split('_').next().unwrap_or(&target).to_owned();
        groups.entry(word).or_default().push(target);
    }
    let mut layers: Vec<Layer> = groups
        .into_iter()
        .map(|(name, targets)| Layer { name, targets })
        .collect();
    for layer in &mut layers {
        layer.targets.sort();
    }
    // Unknown ones come last, by name: sorting is stable.
    layers.sort_by_key(|layer| {
        ORDER
            .iter()
            .position(|name| *name == layer.name)
            .unwrap_or(ORDER.len())
    });
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
        assert_eq!(names, ["unit", "world", "controlplane", "bad"]);
        assert_eq!(layers[1].targets, ["world", "world_leaks"]);
    }
}
