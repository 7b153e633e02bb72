//! What is done for pods beside the main loop, and is watched.

use std::time::Duration;

use crate::watchdog::{LIMIT, Watchdog, Work};

/// How long a sweep for what the plugin has left may take; waiting for locks ends sooner.
const SWEEP_LIMIT: Duration = Duration::from_mins(1);

/// Each may be under way once at a time.
#[derive(Clone, Debug)]
pub struct Works {
    /// The sweep.
    pub(super) sweeping: Work,
    /// What puts programs on interfaces.
    pub(super) attaching: Work,
    /// What puts filters of clsact away.
    pub(super) lifting: Work,
    /// Looks at the plugin's records.
    pub(super) records: Work,
    /// Looks at hardware addresses.
    pub(super) hardware: Work,
}

impl Works {
    /// Has them watched.
    pub fn new(watchdog: &Watchdog) -> Self {
        Self {
            sweeping: watchdog.work("sweep for lost pods", SWEEP_LIMIT),
            attaching: watchdog.work("programs of pods", LIMIT),
            lifting: watchdog.work("lifting of pods' programs", LIMIT),
            records: watchdog.work("records of pods", LIMIT),
            hardware: watchdog.work("hardware addresses of pods", LIMIT),
        }
    }
}
