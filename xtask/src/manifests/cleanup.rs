//! `deploy/cleanup`: a component of kustomize whose pods clean their nodes up in place of running agents, as the chart's `cleanup`
//! has it.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{File, MADE, base, helm, platforms::DAEMON_SET};

/// The value of the chart.
pub(super) const CLEANUP: &str = "cleanup=true";

const KUSTOMIZATION: &str = "\
# Removes from every node what Weir put there. In the kustomization of your overlay, before `kubectl delete -k`:
# components: [../../cleanup]
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
  - target: { kind: DaemonSet, name: weir }
    patch: |-
";

/// The file.
pub(super) fn file() -> Result<File> {
    let usual = daemon_set(&[])?;
    let cleans = daemon_set(&[CLEANUP])?;
    let agent = "/spec/template/spec/containers/0";
    let mut operations = Vec::new();
    for (at, key) in [
        ("/spec", "minReadySeconds"),
        (agent, "args"),
        (agent, "startupProbe"),
        (agent, "livenessProbe"),
        (agent, "readinessProbe"),
    ] {
        let path = format!("{at}/{key}");
        let [was, is] = [&usual, &cleans].map(|one| one.pointer(&path));
        operations.push(match (was, is) {
            (_, Some(value)) => json!({ "op": "add", "path": path, "value": value }),
            (Some(_), None) => json!({ "op": "remove", "path": path }),
            (None, None) => continue,
        });
    }
    let mut text = format!("{MADE}{KUSTOMIZATION}");
    for operation in operations {
        text.extend(["      - ", &operation.to_string(), "\n"]);
    }
    Ok(File {
        path: "deploy/cleanup/kustomization.yaml".to_owned(),
        text,
    })
}

fn daemon_set(more: &[&str]) -> Result<Value> {
    let values = base::VALUES.iter().chain(more);
    let values: Vec<String> = values.map(ToString::to_string).collect();
    let all = helm::template(&values)?;
    let found = all.iter().find(|one| one.template == DAEMON_SET);
    let text = &found.context("no DaemonSet in the chart")?.text;
    serde_saphyr::from_str(text).context("cannot read the DaemonSet")
}
