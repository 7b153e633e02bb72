//! The annotation by which other nodes learn this node's key.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use super::key::PublicKey;
use crate::observe::kubernetes::NodeWriter;

/// Publishes the key, once the API server is known.
#[derive(Clone, Debug, Default)]
pub struct KeyPublisher(Arc<State>);

#[derive(Debug, Default)]
struct State {
    writer: OnceLock<NodeWriter>,
    /// A request is on its way.
    busy: AtomicBool,
    /// The last request failed, which was said.
    failed: AtomicBool,
}

impl KeyPublisher {
    /// From now on writes with this one.
    pub fn begin(&self, writer: NodeWriter) {
        self.0.writer.get_or_init(|| writer);
    }

    /// Sets the annotation of a Node, or takes it away, without waiting for it. To be called again while the Node shows another.
    pub fn publish(&self, node: &str, key: Option<PublicKey>) {
        let state = Arc::clone(&self.0);
        let Some(writer) = state.writer.get().cloned() else {
            return; // A folder of manifests has nobody to tell.
        };
        if state.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        let node = node.to_owned();
        tokio::spawn(async move {
            let text = key.map(|key| key.to_string());
            let result = writer.wireguard_key(&node, text.as_deref()).await;
            let failed = state.failed.swap(result.is_err(), Ordering::Relaxed);
            match result {
                Ok(()) => tracing::info!(node, key = text, "key of this node published"),
                Err(error) if !failed => {
                    tracing::warn!(node, %error, "key of this node not published; retrying");
                }
                Err(_) => {}
            }
            state.busy.store(false, Ordering::Relaxed);
        });
    }
}
