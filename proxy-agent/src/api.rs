//! What the agent tells: the unix-socket API for `proxyctl` and the CNI plugin, health, metrics.
//!
//! The handlers hold no state of their own. What is cheap and must always answer (status, health, metrics)
//! is shared; what only the main loop knows is asked of it through a channel.

pub mod client;
pub mod health;
pub mod health_check_node_port;
pub mod health_server;
pub mod listen;
pub mod log_level;
pub mod messages;
pub mod metrics;
pub mod metrics_server;
pub mod socket;

use std::sync::{Arc, Mutex, PoisonError};

use crate::{config::Configuration, observe::Store, watchdog::Watchdog};
use health::ProxyHealth;
use log_level::LogLevel;
use messages::{MapStatus, Status};
use metrics::Metrics;

/// What handlers share with the main loop.
#[derive(Debug)]
pub struct Shared {
    /// The effective configuration.
    pub config: Configuration,
    /// Whether the proxy keeps up.
    pub health: ProxyHealth,
    /// Whether the tasks go on.
    pub watchdog: Watchdog,
    /// Counters and gauges.
    pub metrics: Metrics,
    /// The log filter.
    pub log_level: LogLevel,
    status: Mutex<Arc<Status>>,
    maps: Mutex<Vec<MapStatus>>,
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
        let timeout = config.sync.full_period.0 * 2;
        Self {
            health: ProxyHealth::new(timeout, Arc::clone(store), watchdog.clone()),
            watchdog,
            config,
            metrics,
            log_level,
            status: Mutex::default(),
            maps: Mutex::default(),
        }
    }

    /// The last published status.
    pub fn status(&self) -> Arc<Status> {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&status)
    }

    /// Publishes a status.
    pub fn publish(&self, status: Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }

    /// Fullness of the maps when they were last counted.
    pub fn maps(&self) -> Vec<MapStatus> {
        self.maps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Keeps a count of the maps' entries, for the status and the metrics.
    pub fn set_maps(&self, maps: impl Iterator<Item = MapStatus>) {
        let maps: Vec<_> = maps
            .inspect(|map| {
                self.metrics
                    .set_map(&map.name, map.entries.unwrap_or(0), map.max_entries);
            })
            .collect();
        *self.maps.lock().unwrap_or_else(PoisonError::into_inner) = maps;
    }
}
