//! The unix socket: JSON over HTTP, versioned paths, `curl --unix-socket` works.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Shared,
    certificates::Certificates,
    messages::{ConfigDump, ErrorBody, LogLevelBody, Names, Status},
    metrics_server,
};

/// How long a status waits for a look at the machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// What only the main loop knows.
#[derive(Debug)]
pub enum Question {
    /// What the numbers in the maps stand for.
    Names(oneshot::Sender<Names>),
    /// To look at the machine, and to publish the status then.
    Look(oneshot::Sender<()>),
    /// What a full comparison would change.
    Diff(oneshot::Sender<Vec<String>>),
}

/// State of the handlers.
#[derive(Clone, Debug)]
pub struct Handlers {
    /// Shared with the main loop.
    pub shared: Arc<Shared>,
    /// Asks the main loop.
    pub questions: mpsc::Sender<Question>,
}

/// The routes.
pub fn router(handlers: Handlers) -> Router {
    // Whoever may speak to the socket needs no certificate for them.
    let metrics = get(metrics_server::metrics).with_state(Arc::clone(&handlers.shared));
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/names", get(names))
        .route("/v1/diff", get(diff))
        .route("/v1/log-level", get(log_level).put(set_log_level))
        .route("/config_dump", get(config_dump))
        .route("/metrics", metrics)
        .with_state(handlers)
}

/// An answer that is not 2xx.
pub fn failure(code: StatusCode, error: impl Into<String>) -> Response {
    let body = ErrorBody {
        error: error.into(),
    };
    (code, Json(body)).into_response()
}

impl Handlers {
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<Json<T>, Response> {
        let (reply, answer) = oneshot::channel();
        let stopping = || failure(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
        self.questions
            .send(question(reply))
            .await
            .map_err(|_stopped| stopping())?;
        answer.await.map(Json).map_err(|_stopped| stopping())
    }
}

async fn status(State(handlers): State<Handlers>) -> Json<Status> {
    // What was taken away a moment ago is told, too. A main loop that does not answer is told of below.
    if handlers.shared.status().agent.ready {
        drop(timeout(PATIENCE, handlers.ask(Question::Look)).await);
    }
    let mut status = Status::clone(&handlers.shared.status());
    // Now: a main loop that stands still publishes nothing.
    status.health.problems = handlers.shared.health.livez().problems;
    let certificates = handlers.shared.certificates.as_deref();
    status
        .health
        .problems
        .extend(certificates.and_then(Certificates::problem));
    Json(status)
}

async fn names(State(handlers): State<Handlers>) -> Result<Json<Names>, Response> {
    handlers.ask(Question::Names).await
}

async fn diff(State(handlers): State<Handlers>) -> Result<Json<Vec<String>>, Response> {
    handlers.ask(Question::Diff).await
}

async fn log_level(State(handlers): State<Handlers>) -> Json<LogLevelBody> {
    Json(LogLevelBody {
        level: handlers.shared.log_level.get(),
    })
}

async fn set_log_level(
    State(handlers): State<Handlers>,
    Json(body): Json<LogLevelBody>,
) -> Result<Json<LogLevelBody>, Response> {
    handlers
        .shared
        .log_level
        .set(&body.level)
        .map_err(|error| failure(StatusCode::BAD_REQUEST, error))?;
    tracing::info!(level = body.level, "log level changed");
    Ok(log_level(State(handlers)).await)
}

async fn config_dump(State(handlers): State<Handlers>) -> Json<ConfigDump> {
    Json(ConfigDump::new(handlers.shared.configuration()))
}
