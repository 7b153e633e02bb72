//! The agent takes the configurations that the chart makes.

use std::fs;

use anyhow::{Result, ensure};
use proxy_agent::config::{Configuration, load};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::helm::{Helm, presets};

fn load(folder: &TempDir, text: &str) -> Result<Configuration> {
    let path = folder.path().join("config.yaml");
    fs::write(&path, text)?;
    Ok(load::load_file(&path)?.configuration)
}

/// Of every preset, in the folders that the preset's platform has.
#[test]
fn of_every_preset() -> Result<()> {
    let helm = Helm::new()?;
    let folder = TempDir::new()?;
    for preset in presets()? {
        let configuration = load(&folder, &helm.configuration(&preset.least)?)?;
        ensure!(configuration.cni.install, "{}", preset.name);
        let rendered = helm.template(&preset.least)?;
        for path in configuration.platform.folders() {
            let mounted = format!("hostPath: {{ path: {path}, type: DirectoryOrCreate }}");
            ensure!(rendered.contains(&mounted), "{}: {mounted}", preset.name);
        }
    }
    Ok(())
}

/// Every setting goes through: all of them, told as values.
#[test]
fn of_every_setting() -> Result<()> {
    let helm = Helm::new()?;
    let mut all = serde_json::to_value(Configuration::default())?;
    all["clientConnection"]["apiServers"] = json!(["https://192.0.2.1:6443"]);
    all["logging"]["level"] = "debug".into();
    all["cgroupRoot"] = "/somewhere".into();
    let made: Value = serde_saphyr::from_str(&helm.configuration(&json!({ "config": all }))?)?;
    // Helm takes away what is null.
    let whole = |mut tree: Value| {
        prune(&mut tree);
        tree
    };
    ensure!(
        whole(made.clone()) == whole(all.clone()),
        "{made}\nis not\n{all}"
    );
    load(&TempDir::new()?, &made.to_string()).map(drop)
}

fn prune(tree: &mut Value) {
    if let Some(parts) = tree.as_object_mut() {
        parts.retain(|_, part| !part.is_null());
        parts.values_mut().for_each(prune);
    }
}
