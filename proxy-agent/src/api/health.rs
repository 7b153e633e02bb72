//! Whether the proxy keeps up, by kube-proxy's rule (`pkg/proxy/healthcheck/proxy_health.go`): healthy while no
//! change has waited longer than the time-out. A change waits from its arrival in the store until it is applied;
//! a write that failed is not. Starting up counts as healthy.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{observe::Store, watchdog::Watchdog};

/// The families, as metrics name them.
pub const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// Whether the proxy keeps up and whether its node is eligible for traffic.
#[derive(Debug)]
pub struct ProxyHealth {
    timeout: Duration,
    store: Arc<Store>,
    watchdog: Watchdog,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The first sync is done: before it nothing is late.
    begun: bool,
    /// What could not be applied, by subject.
    behind: BTreeMap<&'static str, Behind>,
    updated: Option<Timestamp>,
    eligible: bool,
    /// What is wrong beside.
    fault: Option<Fault>,
}

/// Something wrong that is no late change and no task that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What, and what to do about it.
    pub text: String,
    /// Only another container mends it: `/livez` fails.
    pub ends: bool,
}

/// Changes that could not be applied.
#[derive(Debug)]
struct Behind {
    since: Instant,
    why: String,
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
    /// What is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Whether the proxy keeps up, and for `/livez` whether its tasks go on.
    #[serde(skip)]
    pub healthy: bool,
}

impl ProxyHealth {
    /// Health with kube-proxy's `healthTimeout`, of the changes of a store.
    pub fn new(timeout: Duration, store: Arc<Store>, watchdog: Watchdog) -> Self {
        let state = State {
            begun: false,
            behind: BTreeMap::new(),
            updated: None,
            eligible: true,
            fault: None,
        };
        Self {
            timeout,
            store,
            watchdog,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first sync is done.
    pub fn begin(&self) {
        self.state().begun = true;
    }

    /// A subject (`Services`, `policy`) has changes that the kernel does not take, the oldest since then.
    pub fn behind(&self, subject: &'static str, since: Instant, why: &str) {
        let mut state = self.state();
        let known = state.behind.entry(subject).or_insert_with(|| Behind {
            since,
            why: String::new(),
        });
        why.clone_into(&mut known.why);
    }

    /// Everything of a subject is applied.
    pub fn in_step(&self, subject: &str) {
        let mut state = self.state();
        state.behind.remove(subject);
        if state.behind.is_empty() {
            state.updated = Some(Timestamp::now());
        }
    }

    /// Tells whether the node may get traffic.
    pub fn set_eligible(&self, eligible: bool) {
        self.state().eligible = eligible;
    }

    /// Tells what is wrong beside, or that it is mended.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// What is wrong beside.
    pub fn fault(&self) -> Option<Fault> {
        self.state().fault.clone()
    }

    /// What has waited for longer than the time-out.
    fn late(&self) -> Vec<String> {
        let waiting = self.store.waiting_since();
        let state = self.state();
        if !state.begun {
            return Vec::new();
        }
        let late = |since: Instant| since.elapsed() > self.timeout;
        let unseen = waiting.filter(|since| late(*since)).map(|since| {
            let waited = since.elapsed().as_secs();
            format!("changes have waited for {waited} s to be looked at")
        });
        let behind = state.behind.iter().filter(|(_, behind)| late(behind.since));
        let behind = behind.map(|(subject, Behind { since, why })| {
            let waited = since.elapsed().as_secs();
            format!("{subject}: changes not applied for {waited} s: {why}")
        });
        unseen.into_iter().chain(behind).collect()
    }

    /// Whether every change was applied in time.
    pub fn healthy(&self) -> bool {
        self.late().is_empty()
    }

    /// The report of `/healthz`.
    pub fn healthz(&self) -> Report {
        let eligible = self.state().eligible;
        self.report(self.late(), eligible)
    }

    /// The report of `/livez`: it does not look at the node, but at the tasks, and at what only another container mends.
    pub fn livez(&self) -> Report {
        let stalled = self.watchdog.stalled();
        let stalled = stalled.iter().map(ToString::to_string);
        let ends = self.fault().filter(|fault| fault.ends);
        let ends = ends.map(|fault| fault.text);
        let problems = self.late().into_iter().chain(stalled).chain(ends);
        self.report(problems.collect(), true)
    }

    fn report(&self, problems: Vec<String>, node_eligible: bool) -> Report {
        let healthy = problems.is_empty();
        let now = Timestamp::now();
        let updated = if healthy {
            Some(now)
        } else {
            self.state().updated
        };
        Report {
            last_updated: updated.unwrap_or(Timestamp::UNIX_EPOCH).to_string(),
            current_time: now.to_string(),
            node_eligible,
            problems,
            healthy,
        }
    }
}

#[cfg(test)]
mod tests;
