//! What the agent tells: the unix-socket API for `proxyctl` and the CNI plugin, health, metrics.
//!
//! The handlers hold no state of their own. What is cheap and must always answer (status, health, metrics)
//! is shared; what only the main loop knows is asked of it through a channel.

pub mod ask;
pub mod certificates;
pub mod client;
pub mod health;
pub mod health_check_node_port;
pub mod health_server;
pub mod listen;
pub mod log_level;
pub mod messages;
pub mod metrics;
pub mod metrics_server;
pub mod readiness;
pub mod socket;
pub mod tls;
pub mod unix;
pub mod version;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    config::{Configuration, Conntrack},
    model::Mended,
    observe::Store,
    watchdog::Watchdog,
};
use certificates::Certificates;
use health::ProxyHealth;
use log_level::LogLevel;
use messages::{FlowsStatus, MapStatus, Status};
use metrics::Metrics;

/// A change is late after two full comparisons, as kube-proxy has it (`healthzTimeout`), and after so long at the latest.
const LATE: Duration = Duration::from_mins(2);

/// What handlers share with the main loop.
#[derive(Debug)]
pub struct Shared {
    /// The configuration as it was at start; see [`Self::configuration`].
    pub config: Configuration,
    /// Whether the proxy keeps up.
    pub health: ProxyHealth,
    /// Whether the tasks go on.
    pub watchdog: Watchdog,
    /// What was put back beside the main loop.
    pub mended: Mended,
    /// Counters and gauges.
    pub metrics: Metrics,
    /// Those of the metrics server, if it has any.
    pub certificates: Option<Arc<Certificates>>,
    /// The log filter.
    pub log_level: LogLevel,
    status: Mutex<Arc<Status>>,
    maps: Mutex<Vec<MapStatus>>,
    flows: Mutex<FlowsStatus>,
    in_force: Mutex<Configuration>,
    restart_for: Mutex<Vec<String>>,
    config_error: Mutex<Option<String>>,
}

impl Shared {
    /// The state at start.
    pub fn new(
        config: Configuration,
        metrics: Metrics,
        log_level: LogLevel,
        store: &Arc<Store>,
    ) -> Self {
        let watchdog = Watchdog::new(&config.run_dir);
        let timeout = config.sync.full_period.0.min(LATE / 2) * 2;
        let tls = config.metrics_tls.clone();
        Self {
            health: ProxyHealth::new(timeout, Arc::clone(store), watchdog.clone()),
            watchdog,
            mended: Mended::default(),
            in_force: Mutex::new(config.clone()),
            restart_for: Mutex::default(),
            config_error: Mutex::default(),
            config,
            metrics,
            certificates: tls.is_on().then(|| Arc::new(Certificates::new(tls))),
            log_level,
            status: Mutex::default(),
            maps: Mutex::default(),
            flows: Mutex::default(),
        }
    }

    /// The effective configuration: that of the start, with what took effect since.
    pub fn configuration(&self) -> Configuration {
        locked(&self.in_force).clone()
    }

    /// What is in force about connection tracking.
    pub fn conntrack(&self) -> Conntrack {
        locked(&self.in_force).conntrack
    }

    /// Puts a configuration in force that differs from the former in what may change while the agent runs.
    pub fn set_configuration(&self, config: Configuration) {
        *locked(&self.in_force) = config;
    }

    /// Settings whose change waits for a restart.
    pub fn restart_for(&self) -> Vec<String> {
        locked(&self.restart_for).clone()
    }

    /// Notes them.
    pub fn set_restart_for(&self, settings: Vec<String>) {
        *locked(&self.restart_for) = settings;
    }

    /// Why the configuration's file was not taken when it changed last.
    pub fn config_error(&self) -> Option<String> {
        locked(&self.config_error).clone()
    }

    /// Notes why it was not, or that it was.
    pub fn set_config_error(&self, error: Option<String>) {
        *locked(&self.config_error) = error;
    }

    /// The last published status.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&locked(&self.status))
    }

    /// Publishes a status.
    pub fn publish(&self, status: Status) {
        *locked(&self.status) = Arc::new(status);
    }

    /// Fullness of the maps when they were last counted.
    pub fn maps(&self) -> Vec<MapStatus> {
        locked(&self.maps).clone()
    }

    /// The flows when they were last counted.
    pub fn flows(&self) -> FlowsStatus {
        locked(&self.flows).clone()
    }

    /// Keeps a count of the flows, for the status.
    pub fn set_flows(&self, flows: FlowsStatus) {
        *locked(&self.flows) = flows;
    }

    /// Keeps a count of the maps' entries, for the status and the metrics.
    pub fn set_maps(&self, maps: impl Iterator<Item = MapStatus>) {
        let maps: Vec<_> = maps
            .inspect(|map| {
                self.metrics
                    .set_map(&map.name, map.entries, map.max_entries);
            })
            .collect();
        *locked(&self.maps) = maps;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
