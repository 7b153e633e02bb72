//! What the own Node object tells: whether pods get a network here, and by which key the node is reached.

use tokio::time::Instant;

use super::{
    condition::{Network, NodeCondition, Statement},
    encryption::{Ready, publish::KeyPublisher},
    found::Said,
};
use crate::model::Node;

/// Who tells it.
pub(super) struct Telling {
    condition: NodeCondition,
    statement: Statement,
    key: KeyPublisher,
}

impl Telling {
    /// Nothing was told yet.
    pub(super) fn new(condition: &NodeCondition, key: &KeyPublisher) -> Self {
        Self {
            condition: condition.clone(),
            statement: Statement::default(),
            key: key.clone(),
        }
    }

    /// Tells what differs from what the Node shows, without waiting for it. To be called after each look.
    pub(super) fn tell(&mut self, node: &Node, said: &Said) {
        self.publish_key(node, said);
        if !node.gone {
            self.tell_network(node, &said.network);
        }
    }

    /// Has the Node say whether pods get a network, and wait for it no longer once they do.
    fn tell_network(&mut self, node: &Node, network: &Network) {
        let shown = node.network_unavailable.as_ref();
        if let Some(said) = self.statement.of(network, shown, Instant::now()) {
            self.condition.say(node, said);
        }
        if node.awaits_agent && *network == Network::Up {
            self.condition.take_taint(node);
        }
    }

    /// Tells the other nodes this node's key, or that it has none any more.
    fn publish_key(&self, node: &Node, said: &Said) {
        let key = match said.encrypts {
            Ready::Able(key) => Some(said.published_key.unwrap_or(key)),
            // It may be able again in a moment; what others send meanwhile nobody else can read.
            Ready::Unable => return,
            Ready::Off => None,
        };
        if node.wireguard_key != key.map(|key| key.to_string()) {
            self.key.publish(&node.name, key);
        }
    }
}
