//! Self-healing: the folder that plugin and agent share, and the locks: made and taken again where somebody has taken them away. What is in
//! the folder its makers put back.
//!
//! In a container the folder is a mount. Where the node's own is removed, the mount stays at what was removed, and nothing can be
//! made in it: only a container that is made anew gets another, so `/livez` fails. Kubelet restarts the container then; it checks
//! the volume's type (`DirectoryOrCreate`) when a pod starts, but containerd makes a mount's folder that is not there for each
//! container (<https://github.com/containerd/containerd/blob/v2.0.0/internal/cri/opts/spec_linux_opts.go>, `WithMounts`).

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::lock::{Lock, LockError};
use crate::{
    api::{Shared, health::Fault},
    model::Owned,
    watchdog::LIMIT,
};

/// How often they are looked at.
const PERIOD: Duration = Duration::from_secs(3);

/// What is to be done about a folder that was removed.
const REMOVED: &str = "was removed while it is mounted here, so that nothing can be made in it: the container must be made anew, \
    which kubelet does as /livez fails (else delete the agent's pod)";

/// Keeps them until it is aborted, or the runtime ends: the locks end with it.
pub(super) fn spawn(shared: &Arc<Shared>, lock: Lock, pins: &Path) -> JoinHandle<()> {
    let (shared, pins) = (Arc::clone(shared), pins.to_owned());
    let pulse = shared.watchdog.register("rounds of the run folder");
    let work = shared.watchdog.work("run folder", LIMIT);
    let mut held = Some(lock);
    pulse.spawn(async move {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(mut lock) = held.take() else {
                // The look has panicked, and counts as not ended.
                return;
            };
            let (shared, pins) = (Arc::clone(&shared), pins.clone());
            let looked = work.spawn(move || {
                look(&shared, &mut lock, &pins);
                lock
            });
            held = looked.await.ok();
        }
    })
}

fn look(shared: &Shared, lock: &mut Lock, pins: &Path) {
    let folder = &shared.config.run_dir;
    let was_there = folder.exists();
    let fault = match lock.renew(folder, pins) {
        Ok(renewed) => {
            if renewed {
                let thing = "runDir with agent.lock";
                shared.mended.note(Owned::RunFolder, thing);
            }
            None
        }
        Err(error) if was_there && is_removed(&error) => Some(Fault {
            text: format!("runDir {} {REMOVED}", folder.display()),
            ends: true,
        }),
        Err(error) => Some(Fault {
            text: error.to_string(),
            ends: false,
        }),
    };
    if let Some(fault) = fault.as_ref().filter(|_| shared.health.fault() != fault) {
        tracing::error!(error = fault.text, "run folder not in step");
    }
    shared.health.set_fault(fault);
}

/// Nothing can be made there, though it is there.
fn is_removed(error: &LockError) -> bool {
    matches!(error, LockError::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
