//! How a source is doing, for `proxyctl status`, health and the log.

use std::time::Duration;

use cni_plugin::clock;

/// State of the source of the cluster's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// The API server in use, or the folder.
    pub source: String,
    /// Whether it answers. The stores keep what was last seen while it does not.
    pub connected: bool,
    /// Since when, by the clock of this boot.
    pub since: Duration,
    /// Why not, or what of it cannot be read (a broken manifest: file and line).
    pub error: Option<String>,
}

impl Default for SourceStatus {
    fn default() -> Self {
        Self {
            source: String::new(),
            connected: false,
            since: clock::since_boot(),
            error: None,
        }
    }
}

impl SourceStatus {
    /// How long it has been so.
    pub fn age(&self) -> Duration {
        clock::since_boot().saturating_sub(self.since)
    }

    /// Takes on a state; true if it is a change.
    pub(super) fn change(&mut self, source: &str, connected: bool, error: Option<&str>) -> bool {
        // While it is down, the errors of its many watches are all the same news.
        let changed = self.connected != connected
            || self.source != source
            || connected && self.error.as_deref() != error;
        if self.connected != connected || self.source != source {
            self.since = clock::since_boot();
        }
        source.clone_into(&mut self.source);
        self.connected = connected;
        self.error = error.map(str::to_owned);
        changed
    }
}
