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

use super::Shared;

/// The routes.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(shared)
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let (code, response) = answer(&shared, false);
    shared.metrics.healthz.get_or_create(&code.into()).inc();
    response
}

async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    let (code, response) = answer(&shared, true);
    shared.metrics.livez.get_or_create(&code.into()).inc();
    response
}

fn answer(shared: &Shared, livez: bool) -> (StatusCode, Response) {
    let report = shared.health.report(livez);
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
    if status.agent.ready {
        return "ready\n".into_response();
    }
    let mut awaited = status.agent.awaiting.join("\n");
    awaited.push('\n');
    (StatusCode::SERVICE_UNAVAILABLE, awaited).into_response()
}
