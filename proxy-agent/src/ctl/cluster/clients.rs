//! How the API server is asked: no request waits for ever on one that is silent.

use std::{error::Error, io, time::Duration};

use kube::{Client, Config, client::ClientBuilder};
use tower::timeout::{TimeoutLayer, error::Elapsed};

/// To connect, with TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// Until an answer begins, and between two reads of it.
const REQUEST: Duration = Duration::from_secs(15);
/// Until a program runs in a pod: the API server itself waits for half a minute for a node that is silent, and says so.
const BEGIN: Duration = Duration::from_secs(40);

/// Clients of one API server.
#[derive(Clone)]
pub(super) struct Clients {
    /// Of requests.
    pub(super) requests: Client,
    /// Of programs in pods, which may say nothing for as long as they like.
    pub(super) programs: Client,
}

impl Clients {
    pub(super) fn new(mut config: Config) -> Result<Self, kube::Error> {
        config.connect_timeout = Some(CONNECT);
        // One try: whoever waits at a terminal tries again.
        config.default_retry = false;
        config.read_timeout = None;
        let programs = client(&config, BEGIN)?;
        config.read_timeout = Some(REQUEST);
        Ok(Self {
            requests: client(&config, REQUEST)?,
            programs,
        })
    }
}

fn client(config: &Config, head: Duration) -> Result<Client, kube::Error> {
    let builder = ClientBuilder::try_from(config.clone())?;
    Ok(builder.with_layer(&TimeoutLayer::new(head)).build())
}

/// Whether there was no answer in time.
pub(super) fn is_silence(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let late = error.downcast_ref::<io::Error>();
        if error.is::<Elapsed>() || late.is_some_and(|e| e.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        next = error.source();
    }
    false
}
