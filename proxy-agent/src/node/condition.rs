//! The Node's condition `NetworkUnavailable`. Kubelets with a cloud provider set it True at start, and pods are
//! not scheduled until whoever makes the network sets it False (the taint
//! `node.kubernetes.io/network-unavailable`).

use super::own_object::OwnObject;
use crate::observe::kubernetes::NodeWriter;

const SAID: (&str, &str) = (
    "condition NetworkUnavailable set to False",
    "condition NetworkUnavailable not set",
);

/// Sets the condition, once the API server is known.
#[derive(Clone, Debug, Default)]
pub struct NodeCondition(OwnObject);

impl NodeCondition {
    /// From now on writes with this one.
    pub fn begin(&self, writer: NodeWriter) {
        self.0.begin(writer);
    }

    /// Sets the condition to False, without waiting for it. To be called again while the Node shows another.
    pub fn set_available(&self, node: &str) {
        let node = node.to_owned();
        self.0.write(SAID, |writer| async move {
            writer.network_available(&node).await
        });
    }
}
