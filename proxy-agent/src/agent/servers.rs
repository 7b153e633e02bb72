//! The three servers of the agent: health, metrics, and the unix socket.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
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

/// Binds and serves. An address that is taken is an error: a probe would ask someone else.
pub async fn serve(shared: &Arc<Shared>) -> anyhow::Result<Servers> {
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
    let listener =
        socket::bind(&path).with_context(|| format!("runDir: listen on {}", path.display()))?;
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
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{field}: listen on {address}"))?;
    tasks.spawn(async move {
        report(field, axum::serve(listener, router).await);
    });
    Ok(())
}

fn report(server: &'static str, ended: std::io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(server, %error, "server stopped");
    }
}
