//! The clients of one API server. No request waits for ever: connecting, the answer's head and each read of its
//! body have their limits.

use std::{fmt, time::Duration};

use kube::{Client, Config, client::ClientBuilder};
use tower::{limit::RateLimitLayer, timeout::TimeoutLayer};

use super::super::KubernetesError;

/// To connect, with TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two reads of a body. Watches get a bookmark about each minute, so that this is a connection which
/// somebody on the way has forgotten.
const READ: Duration = Duration::from_secs(150);
/// Until an answer begins. A list begins when all of its page is read.
const LIST: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(10);
/// Watches that are closed as soon as they begin are begun anew by the library, without a pause: no more than
/// these requests in this time.
const BUDGET: (u64, Duration) = (100, Duration::from_secs(10));

/// One API server, with connections of its own.
pub(in super::super) struct Server {
    /// Its URL.
    pub(in super::super) url: String,
    config: Config,
    /// For lists and watches.
    pub(in super::super) watches: Client,
    /// For all else.
    pub(in super::super) requests: Client,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Server {
    /// Makes the clients; they connect when they are used.
    pub(in super::super) fn new(mut config: Config) -> Result<Self, KubernetesError> {
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(READ);
        config.reset_reader_on_write = true;
        // Who asks has a back-off of its own.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let failed = |source| KubernetesError::Client {
            url: url.clone(),
            source: Box::new(source),
        };
        let builder = || ClientBuilder::try_from(config.clone()).map_err(failed);
        let watches = builder()?
            .with_layer(&TimeoutLayer::new(LIST))
            .with_layer(&RateLimitLayer::new(BUDGET.0, BUDGET.1))
            .build();
        let requests = builder()?.with_layer(&TimeoutLayer::new(REQUEST)).build();
        Ok(Self {
            url,
            config,
            watches,
            requests,
        })
    }

    /// Whether this is how that one is reached.
    pub(in super::super) fn is(&self, config: &Config) -> bool {
        self.config.cluster_url == config.cluster_url
            && self.config.tls_server_name == config.tls_server_name
    }

    /// Whether that is the same API server.
    pub(in super::super) fn is_same(&self, other: &Self) -> bool {
        self.is(&other.config)
    }
}
