//! Shows the cluster: its shape, nodes and system pods.

use anyhow::Result;

use super::kubectl;
use super::lab::Lab;
use crate::{run, say};

/// Prints the state; no cluster is a state too.
pub(crate) fn status(lab: &Lab) -> Result<()> {
    let Some(shape) = lab.shape()? else {
        say::data("no cluster is up");
        return Ok(());
    };
    say::data(format!(
        "{} nodes, {:?}, {:?} network, {:?}, {} links each, in {}",
        shape.nodes,
        shape.proxy,
        shape.network,
        shape.families,
        shape.links,
        lab.folder.display()
    ));
    run::loud(kubectl(lab)?.args(["get", "nodes", "-o", "wide"]))?;
    run::loud(kubectl(lab)?.args(["--namespace=kube-system", "get", "pods", "-o", "wide"]))
}
