//! Writes to the own Node for which nobody waits.

use std::{
    fmt::Display,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    observe::kubernetes::NodeWriter,
    watchdog::{LIMIT, Watchdog, Work},
};

/// Writes one thing of the Node, once the API server is known. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnObject(Arc<State>);

#[derive(Debug, Default)]
struct State {
    writer: OnceLock<(NodeWriter, Work)>,
    /// A request is on its way.
    busy: AtomicBool,
    /// The last request failed, which was said.
    failed: AtomicBool,
}

impl OwnObject {
    /// From now on writes with this one; `what` is written.
    pub(super) fn begin(&self, watchdog: &Watchdog, what: &str, writer: NodeWriter) {
        self.0.writer.get_or_init(|| {
            let work = watchdog.work(format!("writing of {what}"), LIMIT);
            (writer, work)
        });
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
        let Some((writer, work)) = state.writer.get().cloned() else {
            return; // A folder of manifests has nobody to tell.
        };
        if state.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        let request = request(writer);
        let request = work.begin(async move {
            let state = OnItsWay(state);
            let state = &state.0;
            let result = request.await;
            let said = state.failed.swap(result.is_err(), Ordering::Relaxed);
            match result {
                Ok(()) => tracing::info!("{done}"),
                Err(error) if !said => tracing::warn!(%error, "{failed}; retrying"),
                Err(_) => {}
            }
        });
        // Nobody waits for it.
        drop(request);
    }
}

/// A request that is on its way, until this is dropped.
struct OnItsWay(Arc<State>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
    }
}
