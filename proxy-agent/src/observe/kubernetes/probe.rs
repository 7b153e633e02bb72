//! Questions to API servers whether they are there.

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesOrdered};
use http::Request;
use kube::{Client, Config};
use tokio::time::timeout;

use super::servers::Server;

/// How long an API server may take to say whether it is ready, over a new connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// What came back.
enum Answer {
    Ready(Server),
    /// It is there, but its etcd is not, or it is about to end.
    Unready(Server),
    Nothing(String),
}

/// Asks an API server over the connections that it has, as long as that takes. Any answer will do.
pub(super) async fn version(server: &Server) -> Result<(), String> {
    match get(&server.requests, "/version").await {
        Ok(()) | Err(kube::Error::Api(_)) => Ok(()),
        Err(error) => Err(chain(&error)),
    }
}

/// Asks all, over new connections: the first in order that is ready, else the first that answers at all.
pub(super) async fn best(candidates: Vec<Config>) -> Result<Server, String> {
    let mut answers: FuturesOrdered<_> = candidates.into_iter().map(ask).collect();
    let (mut unready, mut errors) = (None, Vec::new());
    while let Some(answer) = answers.next().await {
        match answer {
            Answer::Ready(server) => return Ok(server),
            Answer::Unready(server) => drop(unready.get_or_insert(server)),
            Answer::Nothing(error) => errors.push(error),
        }
    }
    unready.ok_or_else(|| errors.join("; "))
}

async fn ask(config: Config) -> Answer {
    let url = config.cluster_url.to_string();
    let server = match Server::new(config) {
        Ok(server) => server,
        Err(error) => return Answer::Nothing(error.to_string()),
    };
    match timeout(PATIENCE, get(&server.requests, "/readyz")).await {
        Err(_) => Answer::Nothing(format!("{url}: no answer within {PATIENCE:?}")),
        // Not everybody shows it to everybody.
        Ok(Err(kube::Error::Api(status))) if status.code >= 500 => Answer::Unready(server),
        Ok(Ok(()) | Err(kube::Error::Api(_))) => Answer::Ready(server),
        Ok(Err(error)) => Answer::Nothing(format!("{url}: {}", chain(&error))),
    }
}

async fn get(client: &Client, path: &str) -> Result<(), kube::Error> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}
