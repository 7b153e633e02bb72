//! Health probes: questions to API servers whether they are there.

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesOrdered};
use http::Request;
use kube::{Client, Config};
use tokio::time::timeout;

use super::servers::Server;
use crate::usage::chain;

/// How long an API server may take to say whether it is ready, over a new connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// An API server that answers.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) server: Server,
    /// Why it is not ready: its etcd is away, or it is about to end.
    pub(super) unready: Option<String>,
}

/// Asks an API server over the connections that it has whether it is ready, as long as that takes. Gives why it
/// is not, or an error if it does not answer.
pub(super) async fn readiness(server: &Server) -> Result<Option<String>, String> {
    match get(&server.requests, "/readyz").await {
        Err(kube::Error::Api(status)) if status.code >= 500 => {
            Ok(Some(format!("/readyz says {}", status.code)))
        }
        // Not everybody shows it to everybody.
        Ok(()) | Err(kube::Error::Api(_)) => Ok(None),
        Err(error) => Err(chain(&error)),
    }
}

/// Asks all, over new connections: the first in order that is ready, else the first that answers at all.
pub(super) async fn best(candidates: Vec<Config>) -> Result<Found, String> {
    let mut answers: FuturesOrdered<_> = candidates.into_iter().map(ask).collect();
    let (mut unready, mut errors) = (None, Vec::new());
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(found) if found.unready.is_none() => return Ok(found),
            Ok(found) => drop(unready.get_or_insert(found)),
            Err(error) => errors.push(error),
        }
    }
    unready.ok_or_else(|| errors.join("; "))
}

async fn ask(config: Config) -> Result<Found, String> {
    let server = Server::new(config).map_err(|error| chain(&error))?;
    let url = &server.url;
    let unready = match timeout(PATIENCE, readiness(&server)).await {
        Err(_) => return Err(format!("{url}: no answer within {PATIENCE:?}")),
        Ok(Err(error)) => return Err(format!("{url}: {error}")),
        Ok(Ok(unready)) => unready,
    };
    Ok(Found { server, unready })
}

async fn get(client: &Client, path: &str) -> Result<(), kube::Error> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}
