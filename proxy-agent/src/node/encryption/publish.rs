//! The annotation by which other nodes learn this node's key.

use super::key::PublicKey;
use crate::{node::own_object::OwnObject, observe::kubernetes::NodeWriter, watchdog::Watchdog};

const SAID: (&str, &str) = (
    "key of this node published",
    "key of this node not published",
);

/// Publishes the key, once the API server is known.
#[derive(Clone, Debug, Default)]
pub struct KeyPublisher(OwnObject);

impl KeyPublisher {
    /// From now on writes with this one.
    pub fn begin(&self, watchdog: &Watchdog, writer: NodeWriter) {
        self.0.begin(watchdog, "the node's key", writer);
    }

    /// Sets the annotation of a Node, or takes it away, without waiting for it. To be called again while the Node shows another.
    pub fn publish(&self, node: &str, key: Option<PublicKey>) {
        let (node, key) = (node.to_owned(), key.map(|key| key.to_string()));
        self.0.write(SAID, |writer| async move {
            writer.wireguard_key(&node, key.as_deref()).await
        });
    }
}
