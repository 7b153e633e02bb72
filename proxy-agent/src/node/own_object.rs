//! Writes to the own Node for which nobody waits.

use std::{
    fmt::Display,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::observe::kubernetes::NodeWriter;

/// Writes one thing of the Node, once the API server is known. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnObject(Arc<State>);

#[derive(Debug, Default)]
struct State {
    writer: OnceLock<NodeWriter>,
    /// A request is on its way.
    busy: AtomicBool,
    /// The last request failed, which was said.
    failed: AtomicBool,
}

impl OwnObject {
    /// From now on writes with this one.
    pub(super) fn begin(&self, writer: NodeWriter) {
        self.0.writer.get_or_init(|| writer);
    }

    /// Makes a request, unless one is on its way: to be called again while the Node shows something else. `done` and `failed`
    /// are what the log says of it.
    pub(super) fn write<F, E>(
        &self,
        (done, failed): (&'static str, &'static str),
        request: impl FnOnce(NodeWriter) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send,
    {
        let state = Arc::clone(&self.0);
        let Some(writer) = state.writer.get().cloned() else {
            return; // A folder of manifests has nobody to tell.
        };
        if state.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        let request = request(writer);
        tokio::spawn(async move {
            let result = request.await;
            let said = state.failed.swap(result.is_err(), Ordering::Relaxed);
            match result {
                Ok(()) => tracing::info!("{done}"),
                Err(error) if !said => tracing::warn!(%error, "{failed}; retrying"),
                Err(_) => {}
            }
            state.busy.store(false, Ordering::Relaxed);
        });
    }
}
