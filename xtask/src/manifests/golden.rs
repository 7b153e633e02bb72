//! What the chart makes of each preset, for reviews: the default one whole, of others the templates in which they differ.

use anyhow::Result;

use super::{
    File, MADE,
    cleanup::CLEANUP,
    helm::{self, Rendered},
    preset::Preset,
};

/// All that is off by default.
const ALL: [&str; 17] = [
    "metrics.bind=node",
    "metrics.service.enabled=true",
    "metrics.podMonitor.enabled=true",
    "metrics.tls.secretName=weir-metrics",
    "metrics.tls.clientCA=true",
    "metrics.podMonitor.tlsConfig.cert.secret.name=prometheus",
    "metrics.podMonitor.tlsConfig.keySecret.name=prometheus",
    "metrics.rules.enabled=true",
    "metrics.dashboard.enabled=true",
    "imagePullSecrets[0].name=pull",
    "env[0].name=WEIR_LOGGING_LEVEL",
    "env[0].value=debug",
    "podLabels.team=net",
    "podAnnotations.note=x",
    "volumes[0].name=extra",
    "volumeMounts[0].name=extra",
    "volumeMounts[0].mountPath=/extra",
];

/// The files.
pub(super) fn files(presets: &[Preset]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut usual: Vec<Rendered> = Vec::new();
    for preset in presets {
        let mut values = preset.least();
        values.push("restartOnChange=false".to_owned());
        let all = helm::template(&values)?;
        let other: Vec<_> = all.iter().filter(|one| !usual.contains(one)).collect();
        files.push(file(&preset.name, &other));
        if usual.is_empty() {
            usual = all;
        }
    }
    let mut values: Vec<String> = ALL.map(str::to_owned).to_vec();
    values.push(helm::API_SERVER.to_owned());
    let all = helm::template(&values)?;
    let other: Vec<_> = all.iter().filter(|one| !usual.contains(one)).collect();
    files.push(file("everything", &other));
    let values = [helm::API_SERVER, "restartOnChange=false", CLEANUP];
    let all = helm::template(&values.map(str::to_owned))?;
    let other: Vec<_> = all.iter().filter(|one| !usual.contains(one)).collect();
    files.push(file("cleanup", &other));
    Ok(files)
}

fn file(name: &str, templates: &[&Rendered]) -> File {
    let mut text = MADE.to_owned();
    for one in templates {
        text.extend(["---\n# Source: ", &one.template, "\n", &one.text]);
    }
    File {
        path: format!("tests/golden/chart/{name}.yaml"),
        text,
    }
}
