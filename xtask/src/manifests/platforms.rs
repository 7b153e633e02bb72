//! `deploy/platforms`: presets with folders of their own, as components of kustomize.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    File, MADE, base,
    helm::{self, Rendered},
    preset::Preset,
};

const DAEMON_SET: &str = "daemon-set.yaml";

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
    let mut text = MADE.to_owned();
    text += &format!("# {}\n", preset.needs);
    text +=
        &format!("# In the kustomization of your overlay: components: [../../platforms/{name}]\n");
    let servers = &preset.values["config"]["clientConnection"];
    if !servers.is_null() {
        text += &format!("# In its config.yaml: clientConnection: {servers}\n");
    }
    text += "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n";
    if !resources.is_empty() {
        text += &format!("resources: [{}]\n", resources.join(", "));
    }
    text += "\
patches:
  - target: { kind: DaemonSet, name: weir }
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
";
    text += &format!(
        "                  - {{ name: WEIR_PLATFORM, value: {platform} }}\n            volumes:\n"
    );
    for volume in volumes.iter().filter(|volume| !usual.contains(volume)) {
        let name = volume["name"].as_str().context("a volume has no name")?;
        let path = volume["hostPath"]["path"]
            .as_str()
            .with_context(|| format!("volume {name} is no folder of the node"))?;
        text += &format!(
            "              - name: {name}\n                hostPath: {{ path: {path} }}\n"
        );
    }
    Ok(text)
}
