//! The three servers of the agent: health, metrics, and the unix socket.

use std::{io, net::SocketAddr, sync::Arc};

use axum::Router;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use crate::api::{
    Shared, health_server, metrics_server,
    socket::{self, Handlers, Question},
};

/// How many questions may wait for the main loop.
const QUESTIONS: usize = 16;

/// Running servers; they stop when this is dropped.
#[derive(Debug)]
pub struct Servers {
    #[expect(dead_code, reason = "held for its Drop")]
    tasks: JoinSet<()>,
    /// What the handlers ask of the main loop.
    pub questions: mpsc::Receiver<Question>,
}

/// A server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("{field}: listen on {place}: {source}")]
pub struct ListenError {
    field: &'static str,
    place: String,
    source: io::Error,
}

impl ListenError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let Self { field, place, .. } = self;
        match self.source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "`ss -ltnp` names who has it: another agent, or kube-proxy? Else set {field} to a free one"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("set {field} to an address of this node")
            }
            _ => format!("set {field} to where the agent may listen, other than {place}"),
        }
    }
}

/// Binds and serves. An address that is taken is an error: a probe would ask someone else.
pub async fn serve(shared: &Arc<Shared>) -> Result<Servers, ListenError> {
    let mut tasks = JoinSet::new();
    let config = &shared.config;
    let health = health_server::router(Arc::clone(shared));
    listen(
        &mut tasks,
        "healthzBindAddress",
        config.healthz_bind_address,
        health,
    )
    .await?;
    let metrics = metrics_server::router(Arc::clone(shared));
    listen(
        &mut tasks,
        "metricsBindAddress",
        config.metrics_bind_address,
        metrics,
    )
    .await?;

    let path = config.socket();
    let listener = socket::bind(&path).map_err(|source| ListenError {
        field: "runDir",
        place: path.display().to_string(),
        source,
    })?;
    let (sender, questions) = mpsc::channel(QUESTIONS);
    let handlers = Handlers {
        shared: Arc::clone(shared),
        questions: sender,
    };
    tasks.spawn(async move {
        report("api", axum::serve(listener, socket::router(handlers)).await);
    });
    Ok(Servers { tasks, questions })
}

async fn listen(
    tasks: &mut JoinSet<()>,
    field: &'static str,
    address: SocketAddr,
    router: Router,
) -> Result<(), ListenError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ListenError {
            field,
            place: address.to_string(),
            source,
        })?;
    tasks.spawn(async move {
        report(field, axum::serve(listener, router).await);
    });
    Ok(())
}

fn report(server: &'static str, ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(server, %error, "server stopped");
    }
}
