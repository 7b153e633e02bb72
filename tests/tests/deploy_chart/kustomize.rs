//! Overlays of kustomize make what the chart makes.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use weir_tests::controlplane::go_program;

use super::helm::{Helm, chart};

/// Objects by kind and name.
type Objects = BTreeMap<String, Value>;

fn objects(yaml: &str) -> Result<Objects> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    let mut found = Objects::new();
    for mut object in all {
        // By text they differ in comments and order.
        if let Some(text) = object["data"]["config.yaml"].as_str() {
            object["data"]["config.yaml"] = serde_saphyr::from_str(text)?;
            // The generator gives none.
            object["metadata"]["labels"] = Value::Null;
        }
        if let Some(pods) = object.pointer_mut("/spec/template/spec") {
            plain(pods);
        }
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        ensure!(
            found.insert(name.clone(), object).is_none(),
            "two of {name}"
        );
    }
    Ok(found)
}

/// Puts volumes in order, and leaves out an empty list: patches do with both as they like.
fn plain(pods: &mut Value) {
    if let Some(volumes) = pods["volumes"].as_array_mut() {
        volumes.sort_by_key(|volume| volume["name"].to_string());
    }
    if let Some(parts) = pods.as_object_mut() {
        parts.retain(|_, part| *part != json!([]));
    }
}

/// What an overlay makes, with the name of its `ConfigMap` as it is without the sum of what is in it.
fn kustomize(overlay: &PathBuf) -> Result<Objects> {
    let done = Command::new(go_program("kubernetes", "kubectl", "deploy")?)
        .arg("kustomize")
        .arg(overlay)
        .output()
        .context("start kubectl")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{said}");
    let text = String::from_utf8(done.stdout)?;
    let all: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let mut maps = all
        .iter()
        .filter(|object| object["data"]["config.yaml"].is_string());
    let name = maps.next().context("no ConfigMap")?["metadata"]["name"].as_str();
    objects(&text.replace(name.context("a ConfigMap without a name")?, "weir"))
}

/// Settings that the chart makes by itself.
const CHARTS: [&str; 4] = ["apiVersion", "kind", "cgroupRoot", "cni"];

/// The values that say what an overlay says in its own words; other settings are each one's own.
fn overlays() -> [(&'static str, Value); 3] {
    [
        (
            "cluster",
            json!({ "image": { "repository": "registry.example/weir", "tag": "0.1.0" } }),
        ),
        ("kind", json!({ "platform": "kind" })),
        (
            "lab",
            json!({ "mountBpffs": false, "hostPaths": { "cgroup": "/run/lab-cgroup" } }),
        ),
    ]
}

#[test]
fn every_overlay_makes_what_the_chart_makes() -> Result<()> {
    let helm = Helm::new()?;
    for (name, mut values) in overlays() {
        let overlay = chart().join("../overlays").join(name);
        let said: Value =
            serde_saphyr::from_str(&fs::read_to_string(overlay.join("config.yaml"))?)?;
        values["config"] = said;
        let own = values["config"].as_object_mut().context("no settings")?;
        own.retain(|name, _| !CHARTS.contains(&name.as_str()));
        values["restartOnChange"] = false.into();
        let [made, wanted] = [kustomize(&overlay)?, objects(&helm.template(&values)?)?];
        let names = |all: &Objects| all.keys().cloned().collect::<Vec<_>>();
        ensure!(names(&made) == names(&wanted), "{name}: {made:?}");
        for (object, made) in &made {
            let wanted = &wanted[object];
            ensure!(
                made == wanted,
                "{name}: {object}\n{made:#}\nis not\n{wanted:#}"
            );
        }
    }
    Ok(())
}

/// Components for platforms can be built into an overlay.
#[test]
fn every_component_is_one_of_an_overlay() -> Result<()> {
    let folder = tempfile::TempDir::new_in(chart().join(".."))?;
    for entry in fs::read_dir(chart().join("../platforms"))? {
        let component = entry?.file_name().into_string().unwrap_or_default();
        let kustomization = json!({
            "resources": ["../base"],
            "components": [format!("../platforms/{component}")],
            "configMapGenerator": [{ "name": "weir", "namespace": "kube-system", "literals": ["config.yaml=a: 1"] }],
        });
        fs::write(
            folder.path().join("kustomization.yaml"),
            kustomization.to_string(),
        )?;
        let made = kustomize(&folder.path().to_path_buf())?;
        let pods = &made["\"DaemonSet\" \"weir\""]["spec"]["template"]["spec"];
        let told = pods["containers"][0]["env"]
            .as_array()
            .context("no variables")?;
        ensure!(
            told.iter().any(|one| one["name"] == "WEIR_PLATFORM"),
            "{component}: {told:?}"
        );
    }
    Ok(())
}

/// The component that cleans up makes of an overlay's `DaemonSet` what the chart's value makes.
#[test]
fn the_component_that_cleans_up_is_the_charts_cleanup() -> Result<()> {
    let folder = tempfile::TempDir::new_in(chart().join(".."))?;
    let kustomization = json!({
        "resources": ["../base"],
        "components": ["../cleanup"],
        "configMapGenerator": [{ "name": "weir", "namespace": "kube-system", "literals": ["config.yaml=a: 1"] }],
    });
    let file = folder.path().join("kustomization.yaml");
    fs::write(file, kustomization.to_string())?;
    let values = json!({
        "cleanup": true,
        "restartOnChange": false,
        "image": { "repository": "weir", "tag": "" },
        "config": { "clientConnection": { "apiServers": ["https://192.0.2.1:6443"] } },
    });
    let made = kustomize(&folder.path().to_path_buf())?;
    let wanted = objects(&Helm::new()?.template(&values)?)?;
    let name = "\"DaemonSet\" \"weir\"";
    ensure!(made[name] == wanted[name], "{:#}", made[name]);
    let agent = &made[name]["spec"]["template"]["spec"]["containers"][0];
    let words = json!(["cleanup", "--stay", "--config=/etc/weir/config.yaml"]);
    ensure!(
        agent["args"] == words && agent["readinessProbe"].is_null(),
        "{agent:#}"
    );
    Ok(())
}
