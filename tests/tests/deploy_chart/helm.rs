//! Helm with nothing of the user's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::controlplane::go_program;

/// As the API server of the tests.
const KUBERNETES: &str = "1.36.3";

/// Where the chart is.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart")
}

/// A platform, and the least that has to be told for it.
pub(crate) struct Preset {
    pub(crate) name: String,
    pub(crate) least: Value,
}

/// All of them.
pub(crate) fn presets() -> Result<Vec<Preset>> {
    let mut presets = Vec::new();
    for entry in fs::read_dir(chart().join("presets"))? {
        let path = entry?.path();
        let name = path.file_stem().context("no name")?.to_string_lossy();
        let preset: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
        let mut least = json!({ "platform": name, "config": {} });
        if preset["config"]["clientConnection"].is_null() {
            least["config"]["clientConnection"] =
                json!({ "apiServers": ["https://192.0.2.1:6443"] });
        }
        if preset["config"]["ipam"] == "cluster" {
            least["config"]["clusterPodCIDRs"] = json!(["100.64.0.0/16"]);
        }
        let name = name.into_owned();
        presets.push(Preset { name, least });
    }
    ensure!(presets.len() > 8, "{} presets", presets.len());
    Ok(presets)
}

/// The program, with folders of its own.
pub(crate) struct Helm {
    program: PathBuf,
    folder: TempDir,
}

impl Helm {
    pub(crate) fn new() -> Result<Self> {
        let folder = TempDir::new()?;
        let program = go_program("helm", "helm", "deploy")?;
        Ok(Self { program, folder })
    }

    /// Runs it; what it says if it fails.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let done = Command::new(&self.program)
            .args(words)
            .args(["--namespace", "kube-system"])
            .env("HELM_CACHE_HOME", self.folder.path())
            .env("HELM_CONFIG_HOME", self.folder.path())
            .env("HELM_DATA_HOME", self.folder.path())
            .env_remove("KUBECONFIG")
            .output()
            .context("start helm")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "{said}");
        Ok(String::from_utf8(done.stdout)?)
    }

    /// Runs it with a file of values.
    pub(crate) fn with(&self, words: &[&str], values: &Value) -> Result<String> {
        let file = self.folder.path().join("values.yaml");
        // JSON is YAML.
        fs::write(&file, values.to_string())?;
        let file = file.display().to_string();
        self.run(&[words, &["--values", &file]].concat())
    }

    pub(crate) fn lint(&self, values: &Value) -> Result<()> {
        let chart = chart().display().to_string();
        let words = ["lint", "--strict", "--kube-version", KUBERNETES, &chart];
        self.with(&words, values).map(drop)
    }

    pub(crate) fn template(&self, values: &Value) -> Result<String> {
        let chart = chart().display().to_string();
        let words = ["template", "weir", &chart, "--kube-version", KUBERNETES];
        self.with(&words, values)
    }

    /// The agent's configuration, as the `ConfigMap` has it.
    pub(crate) fn configuration(&self, values: &Value) -> Result<String> {
        let all: Vec<Value> = serde_saphyr::from_multiple(&self.template(values)?)?;
        let mut maps = all.iter().filter(|object| object["kind"] == "ConfigMap");
        let map = maps.find(|map| map["metadata"]["name"] == "weir");
        let text = map.context("no ConfigMap")?["data"]["config.yaml"].as_str();
        text.map(str::to_owned).context("no config.yaml")
    }
}
