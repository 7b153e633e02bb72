//! Keeps for the next agent what is known of Nodes: a file, written anew when that changes, or somebody has taken it away.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    api::Shared,
    model::Owned,
    observe::{
        Store,
        nodes::kept::{self, KNOWN_NODES},
    },
    watchdog::LIMIT,
};

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// The file, and what it holds.
struct File {
    path: PathBuf,
    /// By version.
    held: Option<u64>,
}

/// Has the store know what a former agent knew. Of the own node maps and `node.json` tell.
pub(super) fn recall(shared: &Shared, store: &Store) {
    let config = &shared.config;
    let mut nodes = kept::read(&config.run_dir.join(KNOWN_NODES));
    nodes.retain(|node| node.name != config.node_name);
    store.recall(nodes);
}

/// Keeps the file in step until it is aborted, or the runtime ends.
pub(super) fn spawn(shared: &Arc<Shared>, store: &Arc<Store>) -> JoinHandle<()> {
    let (shared, store) = (Arc::clone(shared), Arc::clone(store));
    let pulse = shared.watchdog.register("rounds of known Nodes");
    let work = shared.watchdog.work("file of known Nodes", LIMIT);
    let mut kept = Some(File {
        path: shared.config.run_dir.join(KNOWN_NODES),
        held: None,
    });
    pulse.spawn(async move {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(mut file) = kept.take() else {
                // The look has panicked, and counts as not ended.
                return;
            };
            let (shared, store) = (Arc::clone(&shared), Arc::clone(&store));
            let looked = work.spawn(move || {
                file.look(&shared, &store);
                file
            });
            kept = looked.await.ok();
        }
    })
}

impl File {
    fn look(&mut self, shared: &Shared, store: &Store) {
        let lost = self.held.is_some() && !self.path.exists();
        let held = self.held.filter(|_| !lost);
        let Some((version, nodes)) = store.kept_nodes(held) else {
            return;
        };
        match kept::write(&self.path, nodes) {
            Ok(()) => {
                if lost {
                    shared.mended.note(Owned::ServersFile, KNOWN_NODES);
                }
                self.held = Some(version);
            }
            Err(error) => {
                let file = self.path.display();
                tracing::warn!(%file, %error, "Nodes not remembered; tried again");
            }
        }
    }
}
