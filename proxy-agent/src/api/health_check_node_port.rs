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
use tokio::{net::TcpListener, task::AbortHandle};

use super::Shared;
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

/// The listeners that are open.
#[derive(Debug)]
pub struct HealthCheckNodePorts {
    shared: Arc<Shared>,
    /// Addresses that serve them; empty means all.
    addresses: Vec<IpAddr>,
    open: BTreeMap<ObjectName, Open>,
}

#[derive(Debug)]
struct Open {
    port: u16,
    local_endpoints: Arc<AtomicU64>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Open {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl HealthCheckNodePorts {
    /// No listener yet.
    pub const fn new(shared: Arc<Shared>, addresses: Vec<IpAddr>) -> Self {
        Self {
            shared,
            addresses,
            open: BTreeMap::new(),
        }
    }

    /// Opens, updates and closes listeners. What could not be opened is returned and tried again next time.
    pub async fn sync(&mut self, wanted: &BTreeMap<ObjectName, HealthCheck>) -> Vec<String> {
        self.open
            .retain(|name, open| wanted.get(name).is_some_and(|want| want.port == open.port));
        let mut problems = Vec::new();
        for (name, want) in wanted {
            if let Some(open) = self.open.get(name) {
                open.local_endpoints
                    .store(want.local_endpoints, Ordering::Relaxed);
                continue;
            }
            match self.listen(name, want).await {
                Ok(open) => drop(self.open.insert(name.clone(), open)),
                Err(error) => problems.push(format!(
                    "FailedToStartServiceHealthcheck: {name}: listen on port {}: {error}",
                    want.port
                )),
            }
        }
        problems
    }

    async fn listen(&self, name: &ObjectName, want: &HealthCheck) -> std::io::Result<Open> {
        let any = [IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let addresses = if self.addresses.is_empty() {
            &any[..]
        } else {
            &self.addresses
        };
        let mut open = Open {
            port: want.port,
            local_endpoints: Arc::new(AtomicU64::new(want.local_endpoints)),
            tasks: Vec::new(),
        };
        for address in addresses {
            let listener = TcpListener::bind(SocketAddr::new(*address, want.port)).await?;
            let answer = Answer {
                shared: Arc::clone(&self.shared),
                service: ServiceName {
                    namespace: name.namespace.to_string(),
                    name: name.name.to_string(),
                },
                local_endpoints: Arc::clone(&open.local_endpoints),
            };
            // Any path: load balancers differ in what they ask for.
            let router = Router::new().fallback(respond).with_state(answer);
            let task = tokio::spawn(async move {
                if let Err(error) = axum::serve(listener, router).await {
                    tracing::warn!(%error, "health check node port stopped");
                }
            });
            open.tasks.push(task.abort_handle());
        }
        Ok(open)
    }
}

#[derive(Clone, Debug)]
struct Answer {
    shared: Arc<Shared>,
    service: ServiceName,
    local_endpoints: Arc<AtomicU64>,
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
}

async fn respond(State(answer): State<Answer>) -> Response {
    let local_endpoints = answer.local_endpoints.load(Ordering::Relaxed);
    let healthy = answer.shared.health.healthy();
    let code = if local_endpoints > 0 && healthy {
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
        service_proxy_healthy: healthy,
    };
    (code, headers, Json(body)).into_response()
}
