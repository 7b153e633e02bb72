//! The Node's condition `NetworkUnavailable`. Kubelets with a cloud provider set it True at start, and pods are
//! not scheduled until whoever makes the network sets it False (the taint
//! `node.kubernetes.io/network-unavailable`).

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::observe::kubernetes::NodeWriter;

/// Sets the condition, once the API server is known.
#[derive(Clone, Debug, Default)]
pub struct NodeCondition(Arc<State>);

#[derive(Debug, Default)]
struct State {
    writer: OnceLock<NodeWriter>,
    /// A request is on its way.
    busy: AtomicBool,
    /// The last request failed, which was said.
    failed: AtomicBool,
}

impl NodeCondition {
    /// From now on writes with this one.
    pub fn begin(&self, writer: NodeWriter) {
        self.0.writer.get_or_init(|| writer);
    }

    /// Sets the condition to False, without waiting for it. To be called again while the Node shows another.
    pub fn set_available(&self, node: &str) {
        let state = Arc::clone(&self.0);
        let Some(writer) = state.writer.get().cloned() else {
            return; // A folder of manifests has nobody to tell.
        };
        if state.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        let node = node.to_owned();
        tokio::spawn(async move {
            let result = writer.network_available(&node).await;
            let failed = state.failed.swap(result.is_err(), Ordering::Relaxed);
            match result {
                Ok(()) => tracing::info!(node, "condition NetworkUnavailable set to False"),
                Err(error) if !failed => {
                    tracing::warn!(node, %error, "condition NetworkUnavailable not set; retrying");
                }
                Err(_) => {}
            }
            state.busy.store(false, Ordering::Relaxed);
        });
    }
}
