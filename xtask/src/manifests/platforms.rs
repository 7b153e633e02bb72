//! `deploy/platforms`: presets with folders of their own, as components of kustomize.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    File, MADE, base,
    helm::{self, Rendered},
    preset::Preset,
};

pub(super) const DAEMON_SET: &str = "daemon-set.yaml";

/// The files.
pub(super) fn files(presets: &[Preset]) -> Result<Vec<File>> {
    let usual = base::templates()?;
    let mut files = Vec::new();
    let platforms = presets
        .iter()
        .filter(|preset| preset.values["config"]["platform"].is_string());
    for preset in platforms {
        files.extend(component(preset, &usual)?);
    }
    Ok(files)
}

fn component(preset: &Preset, usual: &[Rendered]) -> Result<Vec<File>> {
    let all = helm::template(&preset.least())?;
    let folder = format!("deploy/platforms/{}", preset.name);
    let added = |one: &&Rendered| {
        let known = usual.iter().any(|known| known.template == one.template);
        !known && one.template != base::CONFIGURATION
    };
    let mut files: Vec<File> = all
        .iter()
        .filter(added)
        .map(|one| File {
            path: format!("{folder}/{}", one.template),
            text: format!("{MADE}{}", one.text),
        })
        .collect();
    let resources: Vec<&str> = all
        .iter()
        .filter(added)
        .map(|one| one.template.as_str())
        .collect();
    let text = kustomization(preset, &resources, &volumes(&all)?, &volumes(usual)?)?;
    files.push(File {
        path: format!("{folder}/kustomization.yaml"),
        text,
    });
    Ok(files)
}

/// Volumes of the pods.
fn volumes(templates: &[Rendered]) -> Result<Vec<Value>> {
    let daemon_set = templates.iter().find(|one| one.template == DAEMON_SET);
    let text = &daemon_set.context("no DaemonSet in the chart")?.text;
    let daemon_set: Value = serde_saphyr::from_str(text).context("cannot read the DaemonSet")?;
    let volumes = daemon_set["spec"]["template"]["spec"]["volumes"].as_array();
    volumes.cloned().context("no volumes in the DaemonSet")
}

fn kustomization(
    preset: &Preset,
    resources: &[&str],
    volumes: &[Value],
    usual: &[Value],
) -> Result<String> {
    let name = &preset.name;
    let platform = preset.values["config"]["platform"]
        .as_str()
        .context("no platform")?;
    let servers = match &preset.values["config"]["clientConnection"] {
        Value::Null => String::new(),
        servers => format!("# In its config.yaml: clientConnection: {servers}\n"),
    };
    let resources = match resources {
        [] => String::new(),
        some => format!("resources: [{}]\n", some.join(", ")),
    };
    let differing: Vec<String> = volumes
        .iter()
        .filter(|volume| !usual.contains(volume))
        .map(folder)
        .collect::<Result<_>>()?;
    Ok(format!(
        "{MADE}# {}
# In the kustomization of your overlay: components: [../../platforms/{name}]
{servers}apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
{resources}patches:
  - target: {{ kind: DaemonSet, name: weir }}
    patch: |-
      apiVersion: apps/v1
      kind: DaemonSet
      metadata:
        name: weir
      spec:
        template:
          spec:
            containers:
              - name: agent
                env:
                  - {{ name: WEIR_PLATFORM, value: {platform} }}
            volumes:
{}",
        preset.needs,
        differing.concat()
    ))
}

/// A volume that is another folder of the node.
fn folder(volume: &Value) -> Result<String> {
    let name = volume["name"].as_str().context("a volume has no name")?;
    let path = volume["hostPath"]["path"].as_str();
    let path = path.with_context(|| format!("volume {name} is no folder of the node"))?;
    Ok(format!(
        "              - name: {name}\n                hostPath: {{ path: {path} }}\n"
    ))
}
