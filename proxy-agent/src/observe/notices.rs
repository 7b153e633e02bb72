//! What the agent has to say about objects of the cluster. It is told as long as it is so; whoever listens tells the
//! owners once.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::watch;

use crate::model::Notice;

/// All notices that stand. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Notices(Arc<watch::Sender<BTreeSet<Notice>>>);

impl Notices {
    /// Says what stands now.
    pub fn tell(&self, notices: BTreeSet<Notice>) {
        self.0.send_if_modified(|told| {
            let changed = *told != notices;
            *told = notices;
            changed
        });
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> watch::Receiver<BTreeSet<Notice>> {
        self.0.subscribe()
    }
}
