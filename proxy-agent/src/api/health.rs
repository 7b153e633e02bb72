//! Whether the proxy keeps up, by kube-proxy's rule (`pkg/proxy/healthcheck/proxy_health.go`): healthy while no
//! queued update of either family has waited longer than the time-out. Starting up counts as healthy.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

/// The families, in the order of [`State`]'s arrays.
pub const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// Whether the proxy keeps up and whether its node is eligible for traffic.
#[derive(Debug)]
pub struct ProxyHealth {
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Since when the oldest update that is not applied waits, per family.
    waiting: [Option<Instant>; 2],
    updated: Option<Timestamp>,
    eligible: bool,
}

/// The body of `/healthz` and `/livez`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When the proxy was last known to be in step; now, if it is healthy.
    pub last_updated: String,
    /// Now.
    pub current_time: String,
    /// False while the node is being deleted (KEP-3836); always true for `/livez`.
    pub node_eligible: bool,
    /// Whether the proxy keeps up.
    #[serde(skip)]
    pub healthy: bool,
}

impl ProxyHealth {
    /// Health with kube-proxy's `healthTimeout`.
    pub fn new(timeout: Duration) -> Self {
        let state = State {
            waiting: [None; 2],
            updated: None,
            eligible: true,
        };
        Self {
            timeout,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An update was queued for both families.
    pub fn queued(&self) {
        let now = Instant::now();
        for waiting in &mut self.state().waiting {
            waiting.get_or_insert(now);
        }
    }

    /// Everything queued for a family (index in [`FAMILIES`]) was applied.
    pub fn applied(&self, family: usize) {
        let mut state = self.state();
        state.waiting[family] = None;
        state.updated = Some(Timestamp::now());
    }

    /// Tells whether the node may get traffic.
    pub fn set_eligible(&self, eligible: bool) {
        self.state().eligible = eligible;
    }

    /// Whether every queued update was applied in time.
    pub fn healthy(&self) -> bool {
        let late = |since: Instant| since.elapsed() > self.timeout;
        !self.state().waiting.iter().flatten().any(|at| late(*at))
    }

    /// The report; `livez` does not look at the node.
    pub fn report(&self, livez: bool) -> Report {
        let healthy = self.healthy();
        let state = self.state();
        let now = Timestamp::now();
        let updated = if healthy { Some(now) } else { state.updated };
        Report {
            last_updated: updated.unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
            current_time: now.to_string(),
            node_eligible: livez || state.eligible,
            healthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ProxyHealth;

    #[tokio::test(start_paused = true)]
    async fn is_unhealthy_while_a_family_is_late() {
        let health = ProxyHealth::new(Duration::from_secs(10));
        assert!(health.healthy(), "starting up");
        health.queued();
        tokio::time::advance(Duration::from_secs(9)).await;
        health.queued();
        assert!(health.healthy(), "in time");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!health.healthy(), "counted from the oldest");
        health.applied(0);
        assert!(!health.healthy(), "the other family still waits");
        health.applied(1);
        assert!(health.healthy());
    }

    #[test]
    fn livez_does_not_look_at_the_node() {
        let health = ProxyHealth::new(Duration::from_secs(10));
        health.set_eligible(false);
        assert!(!health.report(false).node_eligible);
        assert!(health.report(true).node_eligible);
    }
}
