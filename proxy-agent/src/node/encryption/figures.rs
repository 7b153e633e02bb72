//! Encryption as the status shows it.

use std::time::SystemTime;

use super::{Encrypted, keeper::Keeper};
use crate::{
    api::messages::{EncryptionPeer, EncryptionStatus},
    config::EncryptionSettings,
};

impl EncryptionStatus {
    /// What should be, and what the last look has seen of it.
    pub fn of(settings: EncryptionSettings, keeper: &Keeper, encrypted: &Encrypted) -> Self {
        let device = keeper.device();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let peers = encrypted.peers.iter().map(|(key, peer)| {
            let present = device.peers.get(key).cloned().unwrap_or_default();
            let shaken = !present.handshake.is_zero();
            EncryptionPeer {
                node: peer.node.clone(),
                key: key.to_string(),
                endpoint: present.endpoint.unwrap_or(peer.endpoint).to_string(),
                handshake_seconds: shaken.then(|| now.saturating_sub(present.handshake).as_secs()),
                received_bytes: present.received,
                sent_bytes: present.sent,
            }
        });
        let ranges = encrypted.closed.iter().map(ToString::to_string);
        let nodes = encrypted.closed_nodes.iter().map(ToString::to_string);
        Self {
            mode: settings.mode.to_string(),
            strict: settings.is_strict(),
            public_key: device.public.map(|key| key.to_string()),
            next_public_key: keeper.next().map(|key| key.to_string()),
            peers: peers.collect(),
            closed: ranges.chain(nodes).collect(),
            problems: keeper.problem().map(str::to_owned).into_iter().collect(),
        }
    }
}
