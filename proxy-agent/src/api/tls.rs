//! HTTP over TLS. Hands are shaken aside, so that somebody who says nothing keeps nobody else waiting.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::certificates::Certificates;

/// How long shaking hands may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// With how many at once.
const AT_ONCE: usize = 256;
/// How many may wait to be answered.
const WAITING: usize = 16;

type Shaken = (TlsStream<TcpStream>, SocketAddr);

/// Accepts connections whose handshake is done.
#[derive(Debug)]
pub struct TlsListener {
    shaken: mpsc::Receiver<Shaken>,
    address: io::Result<SocketAddr>,
    #[expect(dead_code, reason = "held for its Drop")]
    task: JoinSet<()>,
}

impl TlsListener {
    /// Takes connections from `listener`.
    pub fn new(listener: TcpListener, certificates: Arc<Certificates>) -> Self {
        let address = listener.local_addr();
        let (sender, shaken) = mpsc::channel(WAITING);
        let mut task = JoinSet::new();
        task.spawn(take(listener, certificates, sender));
        Self {
            shaken,
            address,
            task,
        }
    }
}

async fn take(
    mut listener: TcpListener,
    certificates: Arc<Certificates>,
    sender: mpsc::Sender<Shaken>,
) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut hands = JoinSet::new();
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let (stream, peer) = Listener::accept(&mut listener).await;
        let (certificates, sender) = (Arc::clone(&certificates), sender.clone());
        hands.spawn(async move {
            match timeout(PATIENCE, shake(stream, &certificates)).await {
                // The server has stopped if nobody takes it.
                Ok(Ok(stream)) => drop(sender.send((stream, peer)).await),
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "no TLS with who asks for metrics");
                }
                Err(_) => {
                    tracing::debug!(%peer, "no TLS with who asks for metrics in {PATIENCE:?}");
                }
            }
            drop(permit);
        });
        while hands.try_join_next().is_some() {}
    }
}

async fn shake(
    stream: TcpStream,
    certificates: &Certificates,
) -> Result<TlsStream<TcpStream>, io::Error> {
    let acceptor = certificates.acceptor().map_err(io::Error::other)?;
    acceptor.accept(stream).await
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.shaken.recv().await {
            Some(shaken) => shaken,
            // The task ends by a panic alone: let the watchdog find nobody who answers.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}
