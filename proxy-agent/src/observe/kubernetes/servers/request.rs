//! Requests that are no watches.

use std::time::Duration;

use kube::Client;
use tokio::time::timeout;

use super::Servers;
use crate::usage::chain;

/// A request without success.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The API server refuses, or the connection failed.
    #[error("{what}: {url}: {}", chain(.source))]
    Failed {
        /// What was asked.
        what: String,
        /// The API server.
        url: String,
        /// Why.
        source: kube::Error,
    },
    /// There is no whole answer.
    #[error("{what}: {url}: no answer within {limit:?}")]
    TimedOut {
        /// What was asked.
        what: String,
        /// The API server.
        url: String,
        /// How long it had.
        limit: Duration,
    },
}

impl RequestError {
    /// Why the API server refuses, if it does: who asks may not, or what is asked is not let through.
    fn refusal(&self) -> Option<&str> {
        let Self::Failed {
            source: kube::Error::Api(status),
            ..
        } = self
        else {
            return None;
        };
        let why = [&status.message, &status.reason];
        let why = why.into_iter().find(|text| !text.is_empty());
        matches!(status.code, 401 | 403 | 422)
            .then(|| why.map_or("no reason given", String::as_str))
    }

    /// Whether it is an answer.
    const fn is_answer(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                source: kube::Error::Api(_),
                ..
            }
        )
    }
}

impl Servers {
    /// Asks the API server in use for `what`, a verb and an object; it has `limit` for all of its answer. Whoever gets none makes
    /// it suspect; a refusal is told until the same is done.
    pub(in super::super) async fn request<T, F>(
        &self,
        (limit, what): (Duration, &str),
        ask: impl FnOnce(Client) -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let server = self.current();
        let result = match timeout(limit, ask(server.requests.clone())).await {
            Ok(result) => result.map_err(|source| RequestError::Failed {
                what: what.to_owned(),
                url: server.url.clone(),
                source,
            }),
            Err(_) => Err(RequestError::TimedOut {
                what: what.to_owned(),
                url: server.url.clone(),
                limit,
            }),
        };
        let error = result.as_ref().err();
        let is_answer = error.is_none_or(RequestError::is_answer);
        // What another error says is no answer to whether it would be refused.
        let refusal = error.and_then(RequestError::refusal);
        let is_told = error.is_none() || refusal.is_some();
        if !is_answer || is_told && self.refusals.note(what, refusal) {
            self.suspect();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_asked_of_whom_and_why_it_failed() {
        let refused = std::io::Error::other("connection refused");
        let cause = anyhow::Error::from(refused).context("client error (Connect)");
        let error = RequestError::Failed {
            what: "read Lease kube-system/weir-load-balancer".to_owned(),
            url: "https://192.0.2.1:6443/".to_owned(),
            source: kube::Error::Service(cause.into()),
        };
        assert_eq!(
            error.to_string(),
            "read Lease kube-system/weir-load-balancer: https://192.0.2.1:6443/: ServiceError: client error (Connect): connection refused"
        );
        assert!(!error.is_answer());
    }
}
