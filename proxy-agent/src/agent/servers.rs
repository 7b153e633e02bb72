//! The three servers of the agent: health, metrics, and the unix socket. All are bound before the agent
//! touches anything, so that a second agent, which cannot bind, has touched nothing.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, serve::Listener};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use crate::{
    api::{
        Shared, health_server, listen, metrics_server,
        socket::{self, Handlers, Question},
        tls::TlsListener,
        unix,
    },
    config::Configuration,
    model::Owned,
};

/// How many questions may wait for the main loop.
const QUESTIONS: usize = 16;

/// Sockets that listen, but do not answer yet.
#[derive(Debug)]
pub struct Bound {
    health: TcpListener,
    metrics: TcpListener,
    socket: unix::Bound,
}

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

/// Binds. An address that is taken is an error: a probe would ask someone else. The caller has the lock, so
/// that a unix socket that is there is nobody's.
pub fn bind(config: &Configuration) -> Result<Bound, ListenError> {
    let health = tcp("healthzBindAddress", config.healthz_bind_address)?;
    let metrics = tcp("metricsBindAddress", config.metrics_bind_address)?;
    let path = config.socket();
    let socket = unix::Bound::new(&path, Owned::AgentSocket).map_err(|source| ListenError {
        field: "runDir",
        place: path.display().to_string(),
        source,
    })?;
    Ok(Bound {
        health,
        metrics,
        socket,
    })
}

fn tcp(field: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    listen::bind(address).map_err(|source| ListenError {
        field,
        place: address.to_string(),
        source,
    })
}

impl Bound {
    /// Serves.
    pub fn serve(self, shared: &Arc<Shared>) -> Servers {
        let mut tasks = JoinSet::new();
        let (sender, questions) = mpsc::channel(QUESTIONS);
        let handlers = Handlers {
            shared: Arc::clone(shared),
            questions: sender,
        };
        let health = health_server::router(Arc::clone(shared));
        let metrics = metrics_server::router(Arc::clone(shared));
        serve(&mut tasks, shared, "health server", self.health, health);
        let (name, listener) = ("metrics server", self.metrics);
        match &shared.certificates {
            None => serve(&mut tasks, shared, name, listener, metrics),
            Some(certificates) => {
                let listener = TlsListener::new(listener, Arc::clone(certificates));
                serve(&mut tasks, shared, name, listener, metrics);
            }
        }
        let api = socket::router(handlers);
        let socket = self.socket.telling(&shared.mended);
        serve(&mut tasks, shared, "api server", socket, api);
        Servers { tasks, questions }
    }
}

fn serve<L>(
    tasks: &mut JoinSet<()>,
    shared: &Shared,
    server: &'static str,
    listener: L,
    router: Router,
) where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let pulse = shared.watchdog.register(server);
    pulse.spawn_in(tasks, async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(server, %error, "server stopped");
        }
    });
}
