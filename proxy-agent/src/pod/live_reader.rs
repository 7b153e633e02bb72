//! Live reads of pods for the plugin's ADDs. Pods are opened before the API server is, so the reader is
//! put in later.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;

use super::Fetch;
use crate::{
    model::{ObjectName, Pod},
    observe::kubernetes::PodReader,
};

/// A reader that begins to work later.
#[derive(Clone, Debug, Default)]
pub struct LiveReader(Arc<OnceLock<PodReader>>);

impl LiveReader {
    /// From now on reads with this one.
    pub fn begin(&self, reader: PodReader) {
        self.0.get_or_init(|| reader);
    }

    /// What [`crate::pod::Pods`] reads with.
    pub fn fetch(&self) -> Fetch {
        let cell = Arc::clone(&self.0);
        Arc::new(move |name| {
            let cell = Arc::clone(&cell);
            Box::pin(async move { read(&cell, &name).await })
        })
    }
}

async fn read(cell: &OnceLock<PodReader>, name: &ObjectName) -> anyhow::Result<Option<Arc<Pod>>> {
    let reader = cell.get().context("the agent is starting")?;
    Ok(reader.read(name).await?)
}
