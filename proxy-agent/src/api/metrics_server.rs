//! Port 10249: `/metrics`, and the paths that people and tests of kube-proxy ask there.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::{Shared, messages::ConfigDump};

/// `OpenMetrics`, which is what the text is.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/proxyMode", get(async || "weir"))
        .route("/healthz", get(async || "ok"))
        .route("/configz", get(configz))
        .with_state(shared)
}

/// The metrics as text.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match shared.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            let message = format!("encode metrics: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }
    }
}

async fn configz(State(shared): State<Arc<Shared>>) -> Json<ConfigDump> {
    Json(ConfigDump::new(shared.configuration()))
}
