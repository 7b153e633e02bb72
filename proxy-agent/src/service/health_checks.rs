//! Health check node ports, opened and closed beside the main loop.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::{
    api::{
        Shared,
        health_check_node_port::{HealthCheck, HealthCheckNodePorts, Unopened},
        listen::ListenOn,
    },
    model::{EventReason, Kind, Notice, ObjectName},
};

/// When what could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What is wanted.
#[derive(Clone, Debug, Default)]
struct Wanted {
    checks: BTreeMap<ObjectName, HealthCheck>,
    on: ListenOn,
}

/// What could not be opened.
type Problems = Arc<Mutex<Vec<Unopened>>>;

/// Tells what is to be served.
#[derive(Debug)]
pub struct HealthChecks {
    wanted: watch::Sender<Wanted>,
    problems: Problems,
}

impl HealthChecks {
    /// Begins to serve; ends when this is dropped. Needs a runtime.
    pub fn serve(shared: &Arc<Shared>) -> Self {
        let (wanted, receiver) = watch::channel(Wanted::default());
        let problems = Problems::default();
        let ports = HealthCheckNodePorts::new(Arc::clone(shared));
        let pulse = shared.watchdog.register("health check node ports");
        let told = Arc::clone(&problems);
        drop(pulse.spawn(keep(receiver, ports, told)));
        Self { wanted, problems }
    }

    /// Serves these from now on.
    pub fn want(&self, checks: &BTreeMap<ObjectName, HealthCheck>) {
        self.wanted
            .send_modify(|wanted| wanted.checks.clone_from(checks));
    }

    /// Serves on these addresses from now on.
    pub fn listen_on(&self, on: &ListenOn) {
        self.wanted.send_modify(|wanted| wanted.on.clone_from(on));
    }

    /// What could not be opened; it is tried again.
    pub fn problems(&self) -> Vec<String> {
        let problems = locked(&self.problems);
        problems.iter().map(ToString::to_string).collect()
    }

    /// The same for the Services' owners.
    pub fn notices(&self) -> Vec<Notice> {
        let problems = locked(&self.problems).clone().into_iter();
        let notice = |Unopened { service, error }| Notice {
            kind: Kind::Service,
            object: service,
            reason: EventReason::FailedToStartServiceHealthcheck,
            note: error,
        };
        problems.map(notice).collect()
    }
}

async fn keep(
    mut wanted: watch::Receiver<Wanted>,
    mut ports: HealthCheckNodePorts,
    told: Problems,
) {
    loop {
        let Wanted { checks, on } = wanted.borrow_and_update().clone();
        let problems = ports.sync(&checks, on).await;
        let known = std::mem::replace(&mut *locked(&told), problems.clone());
        for problem in problems.iter().filter(|p| !known.contains(p)) {
            tracing::warn!("{problem}");
        }
        // Silence is no news, but another try.
        if let Ok(Err(_ended)) = timeout(RETRY, wanted.changed()).await {
            return;
        }
    }
}

fn locked(problems: &Problems) -> MutexGuard<'_, Vec<Unopened>> {
    problems.lock().unwrap_or_else(PoisonError::into_inner)
}
