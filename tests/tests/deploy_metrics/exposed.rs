//! The text of `/metrics`, taken apart.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};

use super::query::name_and_labels;

/// What a metric says of itself.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) help: String,
    pub(crate) unit: Option<String>,
    pub(crate) labels: BTreeSet<String>,
}

/// What an agent exposes.
#[derive(Debug, Default)]
pub(crate) struct Exposed {
    /// By the name that help and type stand at.
    pub(crate) families: BTreeMap<String, Family>,
    /// Labels, by the name of the samples: `..._total`, `..._bucket`.
    pub(crate) series: BTreeMap<String, BTreeSet<String>>,
}

impl Exposed {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut exposed = Self::default();
        let mut last = String::new();
        for line in text.lines() {
            if line == "# EOF" {
                return Ok(exposed);
            }
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (word, name) = (words.next(), words.next().context("no name")?);
                let rest = words.next().unwrap_or_default().to_owned();
                let family = exposed.families.entry(name.to_owned()).or_default();
                match word {
                    Some("HELP") => family.help = rest,
                    Some("UNIT") => family.unit = Some(rest),
                    _ => {}
                }
                name.clone_into(&mut last);
                continue;
            }
            let (name, labels) = name_and_labels(line);
            ensure!(name.starts_with(&last), "{name} is not of {last}");
            let family = exposed.families.entry(last.clone()).or_default();
            family.labels.extend(labels.clone());
            exposed.series.entry(name).or_default().extend(labels);
        }
        anyhow::bail!("the text ends without # EOF")
    }

    /// Names of the families.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.families.keys()
    }
}
