//! Weir by Helm: the chart as users take it, with what the lab's nodes need.

use anyhow::{Context as _, Result};

use super::lab::Lab;
use super::place::Place;
use crate::tools::go;
use crate::{paths, run};

const RELEASE: &str = "weir";
const NAMESPACE: &str = "--namespace=kube-system";

/// What is to be otherwise than in the lab's values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values<'a> {
    /// Only nodes with this label and value have agents.
    pub(super) only: Option<(&'a str, &'a str)>,
    /// More, as `--set` has it.
    pub(super) set: &'a [&'a str],
}

/// Installs the chart, or upgrades what is installed to these values.
pub(super) fn upgrade(lab: &Lab, values: Values<'_>) -> Result<()> {
    let root = paths::root();
    let mut set: Vec<String> = Vec::new();
    if let Some((label, value)) = values.only {
        let label = label.replace('.', "\\.");
        set.push(format!("--set-string=nodeSelector.{label}={value}"));
    }
    set.extend(values.set.iter().map(|one| format!("--set={one}")));
    let chart = root.join("deploy/chart").display().to_string();
    let file = root.join("tests/cluster/manifests/helm-values.yaml");
    let file = format!("--values={}", file.display());
    let mut words = vec![
        "upgrade",
        "--install",
        "--reset-values",
        RELEASE,
        &chart,
        &file,
    ];
    words.extend(set.iter().map(String::as_str));
    helm(lab, &words).map(drop)
}

/// Goes back to the release before.
pub(super) fn rollback(lab: &Lab) -> Result<()> {
    helm(lab, &["rollback", RELEASE]).map(drop)
}

/// Takes away what Helm has made.
pub(super) fn uninstall(lab: &Lab) -> Result<()> {
    helm(lab, &["uninstall", RELEASE, "--wait", "--timeout=120s"]).map(drop)
}

fn helm(lab: &Lab, words: &[&str]) -> Result<String> {
    let mut helm = Place::fabric(lab).command(go::HELM.ensure()?);
    helm.arg(format!("--kubeconfig={}", lab.kubeconfig().display()))
        .arg(NAMESPACE)
        .args(words)
        .env("HELM_CACHE_HOME", lab.file("helm"));
    run::output(&mut helm).context("Helm does not do it")
}
