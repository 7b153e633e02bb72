//! The endpoints of this node: what pods tell policy.

use std::{net::IpAddr, sync::Arc};

use super::{ObjectName, Pod};

/// An endpoint: one pod of this node, wired by the plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalEndpoint {
    /// Endpoint id: index of its policy word, never 0.
    pub id: u32,
    /// The pod.
    pub pod: ObjectName,
    /// The pod's UID; empty if the runtime did not say.
    pub uid: String,
    /// Addresses that the plugin gave it.
    pub ips: Vec<IpAddr>,
    /// What a live read of the pod gave, for the time until the watch delivers it.
    pub fetched: Option<Arc<Pod>>,
}
