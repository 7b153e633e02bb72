//! Encryption between nodes.

use super::{Level, RANGES, Row, age};
use crate::api::messages::{EncryptionPeer, Status};

/// Its row: the peers, when hands were shaken with the first of them, and how much went to and from them.
pub(super) fn row(status: &Status) -> Row {
    let told = &status.encryption;
    if told.mode.is_empty() || told.mode == "off" {
        return Row::new("Encryption", Level::Ok, "off".to_owned());
    }
    let mut words = vec![told.mode.clone()];
    if told.strict {
        words.push("strict".to_owned());
    }
    words.push(format!("peers {}", told.peers.len()));
    let sum = |of: fn(&EncryptionPeer) -> u64| told.peers.iter().map(of).sum::<u64>();
    let (received, sent) = (sum(|peer| peer.received_bytes), sum(|peer| peer.sent_bytes));
    words.push(format!("received {received} B   sent {sent} B"));
    let first = told.peers.iter().take(RANGES).map(peer);
    let mut first: Vec<String> = first.collect();
    let more = told.peers.len().saturating_sub(RANGES);
    if more > 0 {
        first.push(format!("and {more} more"));
    }
    if !first.is_empty() {
        words.push(format!("({})", first.join(", ")));
    }
    let mut row = Row::new("Encryption", Level::Ok, words.join("   "));
    if !told.problems.is_empty() {
        row.level = Level::Error;
        row.notes.clone_from(&told.problems);
    }
    if let Some(key) = &told.public_key {
        row.text = format!("{}   key {key}", row.text);
    }
    if let Some(key) = &told.next_public_key {
        row.text = format!(
            "{}   next key {key}, once the API server shows it",
            row.text
        );
    }
    row
}

fn peer(peer: &EncryptionPeer) -> String {
    let handshake = peer.handshake_seconds.map_or_else(
        || "no handshake yet".to_owned(),
        |seconds| format!("handshake {} ago", age(seconds)),
    );
    format!("{} {handshake}", peer.node)
}
