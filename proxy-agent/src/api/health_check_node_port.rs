//! `healthCheckNodePort`: one listener per Service of type `LoadBalancer` with `externalTrafficPolicy: Local`,
//! asked by cloud load balancers whether this node has endpoints (`pkg/proxy/healthcheck/service_health.go`).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use tokio::task::JoinHandle;

use super::{
    Shared,
    listen::{self, ListenOn},
};
use crate::model::ObjectName;

/// What a Service asks for: its port, and how many of its endpoints here are ready. Endpoints that only
/// serve while they terminate do not count, so that load balancers drain the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `spec.healthCheckNodePort`.
    pub port: u16,
    /// Ready endpoints on this node.
    pub local_endpoints: u64,
}

/// A listener that could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unopened {
    /// The Service.
    pub service: ObjectName,
    /// Why.
    pub error: String,
}

impl std::fmt::Display for Unopened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, error } = self;
        write!(f, "Service {service}: {error}")
    }
}

/// The listeners that are open.
#[derive(Debug)]
pub struct HealthCheckNodePorts {
    shared: Arc<Shared>,
    open: BTreeMap<ObjectName, Open>,
}

#[derive(Debug)]
struct Open {
    port: u16,
    local_endpoints: Arc<AtomicU64>,
    listeners: BTreeMap<IpAddr, JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listeners.values().for_each(JoinHandle::abort);
    }
}

impl Open {
    const fn new(port: u16, local_endpoints: Arc<AtomicU64>) -> Self {
        Self {
            port,
            local_endpoints,
            listeners: BTreeMap::new(),
        }
    }

    /// Closes the listeners on other addresses, and waits for it: the port may be opened anew at once.
    async fn keep_only(&mut self, addresses: &[IpAddr]) {
        let gone = |address: &IpAddr| !addresses.contains(address);
        let gone: Vec<IpAddr> = self.listeners.keys().copied().filter(gone).collect();
        for address in gone {
            if let Some(listener) = self.listeners.remove(&address) {
                listener.abort();
                drop(listener.await); // It was cancelled, which is no news.
            }
        }
    }
}

impl HealthCheckNodePorts {
    /// No listener yet.
    pub const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            open: BTreeMap::new(),
        }
    }

    /// Opens, updates and closes listeners. What could not be opened is returned and tried again next time.
    pub async fn sync(
        &mut self,
        wanted: &BTreeMap<ObjectName, HealthCheck>,
        on: ListenOn,
    ) -> Vec<Unopened> {
        // Both families, or the one that the machine has.
        let addresses = match on {
            ListenOn::All => vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            ListenOn::Only(addresses) => addresses,
        };
        self.close(wanted, &addresses).await;
        let mut problems = Vec::new();
        for (name, want) in wanted {
            let count = || Arc::new(AtomicU64::new(want.local_endpoints));
            let open = self.open.entry(name.clone());
            let open = open.or_insert_with(|| Open::new(want.port, count()));
            open.local_endpoints
                .store(want.local_endpoints, Ordering::Relaxed);
            // One that has ended listens no more.
            open.listeners.retain(|_, listener| !listener.is_finished());
            for address in &addresses {
                if open.listeners.contains_key(address) {
                    continue;
                }
                let at = SocketAddr::new(*address, want.port);
                let answer = Answer::new(&self.shared, name, &open.local_endpoints);
                match serve(at, answer) {
                    Ok(listener) => drop(open.listeners.insert(*address, listener)),
                    Err(error) => problems.push(Unopened {
                        service: name.clone(),
                        error: format!("health check node port: listen on {at}: {error}"),
                    }),
                }
            }
        }
        problems
    }

    async fn close(&mut self, wanted: &BTreeMap<ObjectName, HealthCheck>, addresses: &[IpAddr]) {
        let open = std::mem::take(&mut self.open);
        for (name, mut open) in open {
            let stays = wanted.get(&name).is_some_and(|want| want.port == open.port);
            open.keep_only(if stays { addresses } else { &[] }).await;
            if stays {
                self.open.insert(name, open);
            }
        }
    }
}

fn serve(at: SocketAddr, answer: Answer) -> std::io::Result<JoinHandle<()>> {
    let listener = listen::bind(at)?;
    // Any path: load balancers differ in what they ask for.
    let router = Router::new().fallback(respond).with_state(answer);
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "health check node port stopped");
        }
    }))
}

#[derive(Clone, Debug)]
struct Answer {
    shared: Arc<Shared>,
    service: ServiceName,
    local_endpoints: Arc<AtomicU64>,
}

impl Answer {
    fn new(shared: &Arc<Shared>, name: &ObjectName, local_endpoints: &Arc<AtomicU64>) -> Self {
        Self {
            shared: Arc::clone(shared),
            service: ServiceName {
                namespace: name.namespace().to_owned(),
                name: name.name().to_owned(),
            },
            local_endpoints: Arc::clone(local_endpoints),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct ServiceName {
    namespace: String,
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    service: ServiceName,
    local_endpoints: u64,
    service_proxy_healthy: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

async fn respond(State(answer): State<Answer>) -> Response {
    let local_endpoints = answer.local_endpoints.load(Ordering::Relaxed);
    let problems = answer.shared.health.healthz().problems;
    let service_proxy_healthy = problems.is_empty();
    let code = if local_endpoints > 0 && service_proxy_healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let headers = [
        ("x-content-type-options", "nosniff".to_owned()),
        (
            "x-load-balancing-endpoint-weight",
            local_endpoints.to_string(),
        ),
    ];
    let body = Body {
        service: answer.service,
        local_endpoints,
        service_proxy_healthy,
        problems,
    };
    (code, headers, Json(body)).into_response()
}
