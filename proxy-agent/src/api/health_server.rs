//! Port 10256: `/healthz` for load balancers, `/livez` for the liveness probe (both as kube-proxy answers
//! them), and `/readyz` of our own, which names what is still awaited.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::{Shared, health::Report};

/// The routes.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(shared)
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let (code, response) = answer(shared.health.healthz());
    shared.metrics.healthz.get_or_create(&code.into()).inc();
    response
}

async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    let (code, response) = answer(shared.health.livez());
    shared.metrics.livez.get_or_create(&code.into()).inc();
    response
}

fn answer(report: Report) -> (StatusCode, Response) {
    let code = if report.healthy && report.node_eligible {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let headers = [(header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (code, (code, headers, Json(report)).into_response())
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.status();
    let stalled = shared.watchdog.stalled();
    let fault = shared.health.fault().filter(|fault| fault.ends);
    let fault = fault.map(|fault| fault.text);
    if status.agent.ready && stalled.is_empty() && fault.is_none() {
        return "ready\n".into_response();
    }
    let stalled = stalled.iter().map(ToString::to_string).chain(fault);
    let stalled = stalled.map(|wrong| format!("{wrong}\n"));
    let awaited = status.agent.awaiting.iter().map(|task| format!("{task}\n"));
    let text: String = awaited.chain(stalled).collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
