//! The presets of platforms.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{helm::CHART, read};
use crate::paths;

/// Unless a value says otherwise.
pub(super) const DEFAULT: &str = "kubernetes";

/// A platform.
pub(super) struct Preset {
    /// As the value `platform` has it.
    pub(super) name: String,
    /// What its comment says that it needs, on one line.
    pub(super) needs: String,
    /// What it sets.
    pub(super) values: Value,
}

/// All of them; the default first, then by name.
pub(super) fn all() -> Result<Vec<Preset>> {
    let folder = paths::root().join(CHART).join("presets");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = files
        .filter_map(|file| file.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    names.sort_by_key(|name| (name != DEFAULT, name.clone()));
    names.into_iter().map(one).collect()
}

fn one(name: String) -> Result<Preset> {
    let path = format!("{CHART}/presets/{name}.yaml");
    let text = read(&path)?;
    let head = text.lines().map_while(|line| line.strip_prefix("# "));
    Ok(Preset {
        needs: head.collect::<Vec<_>>().join(" "),
        values: serde_saphyr::from_str(&text).with_context(|| format!("cannot read {path}"))?,
        name,
    })
}

impl Preset {
    /// The least that Helm has to be told to render it.
    pub(super) fn least(&self) -> Vec<String> {
        let mut told = vec![format!("platform={}", self.name)];
        if self.values["config"]["clientConnection"]["apiServers"].is_null() {
            told.push(super::helm::API_SERVER.to_owned());
        }
        if self.values["config"]["ipam"] == "cluster" {
            told.push("config.clusterPodCIDRs={100.64.0.0/16}".to_owned());
        }
        told
    }
}
