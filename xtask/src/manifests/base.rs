//! `deploy/base`: the chart as kustomize takes it, without what overlays give it.

use anyhow::Result;

use super::{
    File, MADE,
    helm::{self, Rendered},
};

/// Overlays have a generator for it.
pub(super) const CONFIGURATION: &str = "configuration.yaml";

const KUSTOMIZATION: &str = "\
# Weir on any cluster. Not to be applied as it is: an overlay names the API server and the image.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
";

/// kustomize replaces the image `weir` and, where the configuration has changed, the name of its `ConfigMap`.
pub(super) const VALUES: [&str; 4] = [
    helm::API_SERVER,
    "image.repository=weir",
    "image.tag=",
    "restartOnChange=false",
];

/// The templates that the base is made of.
pub(super) fn templates() -> Result<Vec<Rendered>> {
    let mut all = helm::template(&VALUES.map(str::to_owned))?;
    all.retain(|one| one.template != CONFIGURATION);
    Ok(all)
}

/// The files.
pub(super) fn files() -> Result<Vec<File>> {
    let templates = templates()?;
    let mut kustomization = format!("{MADE}{KUSTOMIZATION}");
    for one in &templates {
        kustomization.extend(["  - ", &one.template, "\n"]);
    }
    let mut files = vec![File {
        path: "deploy/base/kustomization.yaml".to_owned(),
        text: kustomization,
    }];
    files.extend(templates.into_iter().map(|one| File {
        path: format!("deploy/base/{}", one.template),
        text: format!("{MADE}{}", one.text),
    }));
    Ok(files)
}
