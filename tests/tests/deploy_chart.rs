//! The chart in `deploy/chart`, by the real Helm, at a real API server.

#[path = "deploy_chart/agent.rs"]
mod agent;
#[path = "deploy_chart/helm.rs"]
mod helm;
#[path = "deploy_chart/kustomize.rs"]
mod kustomize;
#[path = "deploy_chart/release.rs"]
mod release;
#[path = "deploy_chart/schema.rs"]
mod schema;

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use helm::Helm;
use weir_tests::{controlplane::ControlPlane, world::program};

/// Schema, README, `deploy/base`, `deploy/platforms`, and what each preset comes to (`tests/golden/chart`).
#[test]
fn what_is_made_of_the_chart_is_in_step() -> Result<()> {
    let checked = Command::new(program("xtask")?)
        .args(["manifests", "--check"])
        .output()?;
    let said = String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.success(), "{said}");
    Ok(())
}

#[test]
fn helm_has_nothing_against_the_chart() -> Result<()> {
    let helm = Helm::new()?;
    for preset in helm::presets()? {
        helm.lint(&preset.least)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_takes_what_every_preset_makes() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.system().await?;
    let helm = Helm::new()?;
    for preset in helm::presets()? {
        let mut values = preset.least;
        plane.would_take(&helm.template(&values)?).await?;
        values["cleanup"] = true.into();
        plane.would_take(&helm.template(&values)?).await?;
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/chart");
    // What is off unless it is asked for. Objects of the Prometheus operator have definitions of their own, which are not here.
    let everything = fs::read_to_string(golden.join("everything.yaml"))?;
    let (foreign, ours): (Vec<&str>, Vec<&str>) = everything
        .split("\n---\n")
        .partition(|object| object.contains("apiVersion: monitoring.coreos.com/"));
    ensure!(foreign.len() == 2 && ours.len() > 3, "{everything}");
    plane.would_take(&ours.join("\n---\n")).await
}
