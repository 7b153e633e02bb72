//! Garbage collection, what it found, and what the plugin's files said at its end: gathered beside the main loop, which reads no files.

use std::collections::BTreeSet;

use cni_plugin::{
    attachment::{Attachment, State},
    paths::Paths,
    rpc::Key,
};

use super::collector::{self, Memory, Sweep};

/// It.
#[derive(Debug)]
pub struct Swept {
    /// For the next sweep.
    pub memory: Memory,
    /// What the sweep did. Its records are as they were at the end.
    pub sweep: Sweep,
    /// DELs that no agent has heard of.
    pub(super) tombstones: Vec<Key>,
    /// Those that have a record.
    pub(super) recorded: BTreeSet<Key>,
}

impl Swept {
    /// After a sweep. `known`: endpoints that the agent serves.
    pub fn new(paths: &Paths, known: &[Key], memory: Memory, mut sweep: Sweep) -> Self {
        let live = sweep.live.iter().map(Attachment::key);
        let salvaged = sweep.salvaged.iter().map(|one| one.attachment.key());
        let all = known.iter().chain(&sweep.dead).chain(live).chain(salvaged);
        let recorded = all.filter(|key| paths.attachment(key).exists());
        let recorded = recorded.cloned().collect();
        for record in &mut sweep.live {
            let now = Attachment::read(&paths.attachment(record.key()));
            if let Ok(now) = now
                && now.state == State::Ready
            {
                *record = now;
            }
        }
        Self {
            memory,
            sweep,
            tombstones: collector::tombstones(paths),
            recorded,
        }
    }
}
