//! Weir's network: the very manifests that a user takes, with the lab's overlay.

use anyhow::{Context as _, Result};

use super::kubectl;
use super::lab::Lab;
use crate::{paths, run};

/// Applies the overlay and returns when every agent is ready.
pub(crate) fn install(lab: &Lab) -> Result<()> {
    let overlay = paths::root().join("deploy/overlays/lab");
    run::output(kubectl(lab)?.args(["apply", "-k"]).arg(overlay))?;
    let mut rollout = kubectl(lab)?;
    rollout.args([
        "--namespace=kube-system",
        "rollout",
        "status",
        "daemonset/weir",
        "--timeout=180s",
    ]);
    run::output(&mut rollout).context(
        "hint: cargo xtask cluster kubectl -- -n kube-system logs -l app.kubernetes.io/name=weir",
    )?;
    Ok(())
}
