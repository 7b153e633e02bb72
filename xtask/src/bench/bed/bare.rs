//! The baseline: the same wiring and routes, no program of ours, no netfilter.

use anyhow::Result;
use weir_world::World;

use super::Pods;

/// A bed with nothing on the path.
pub(crate) struct Bare {
    pub(crate) pods: Pods,
}

impl Bare {
    pub(crate) fn new() -> Result<Self> {
        let world = World::new("bare")?;
        let nodes = super::nodes(&world)?;
        let pods = Pods::new(&nodes, weir_world::Node::plain_pod)?;
        Ok(Self { pods })
    }
}
