//! The baseline: the same wiring and routes, no program of ours, no netfilter.

use anyhow::Result;
use weir_world::{Node, World};

use super::Pods;

/// A bed with nothing on the path.
pub(crate) struct Bare {
    pub(crate) pods: Pods,
}

impl Bare {
    pub(crate) fn new() -> Result<Self> {
        Self::on(&super::nodes(&World::new("bare")?)?)
    }

    /// On nodes that have ways to each other's pods.
    pub(crate) fn on(nodes: &[Node; 2]) -> Result<Self> {
        let pods = Pods::new(nodes, Node::plain_pod)?;
        Ok(Self { pods })
    }
}
