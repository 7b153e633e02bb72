//! Requests that are no watches.

use std::time::Duration;

use kube::Client;
use tokio::time::timeout;

use super::Servers;

/// A request without success.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The API server refuses, or the connection failed.
    #[error(transparent)]
    Failed(#[from] kube::Error),
    /// There is no whole answer.
    #[error("{url}: no answer within {limit:?}")]
    TimedOut {
        /// The API server.
        url: String,
        /// How long it had.
        limit: Duration,
    },
}

impl RequestError {
    /// Whether it is an answer.
    const fn is_answer(&self) -> bool {
        matches!(self, Self::Failed(kube::Error::Api(_)))
    }
}

impl Servers {
    /// Asks the API server in use; it has `limit` for all of its answer. Whoever gets none makes it suspect.
    pub(in super::super) async fn request<T, F>(
        &self,
        limit: Duration,
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let server = self.current();
        let result = match timeout(limit, ask(server.requests.clone())).await {
            Ok(result) => result.map_err(RequestError::from),
            Err(_) => Err(RequestError::TimedOut {
                url: server.url.clone(),
                limit,
            }),
        };
        if result.as_ref().is_err_and(|error| !error.is_answer()) {
            self.suspect();
        }
        result
    }
}
