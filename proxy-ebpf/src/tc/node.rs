//! What the agent says of the node.

use proxy_common::node::{NODE_FORWARD_BPF, NodeConfig};

use crate::maps::NODE_CONFIG;

/// The node's configuration; all zero before the agent has written it.
#[inline(always)]
pub fn config() -> NodeConfig {
    NODE_CONFIG.get(0).copied().unwrap_or_default()
}

/// Whether packets pass the host's stack by.
#[inline(always)]
pub fn forwards() -> bool {
    NODE_CONFIG
        .get(0)
        .is_some_and(|config| config.flags & NODE_FORWARD_BPF != 0)
}
