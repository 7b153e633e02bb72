//! HTTP over TLS. Hands are shaken aside, so that somebody who says nothing keeps nobody else waiting.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

use super::certificates::Certificates;

/// How long shaking hands may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// With how many at once; others wait in the kernel.
const AT_ONCE: usize = 256;

/// A connection whose handshake is done.
type Shaken = (TlsStream<TcpStream>, SocketAddr);

/// Accepts connections whose handshake is done.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    certificates: Arc<Certificates>,
    hands: JoinSet<Option<Shaken>>,
}

impl TlsListener {
    /// Takes connections from `listener`.
    pub fn new(listener: TcpListener, certificates: Arc<Certificates>) -> Self {
        Self {
            listener,
            certificates,
            hands: JoinSet::new(),
        }
    }

    fn shake(&mut self, stream: TcpStream, peer: SocketAddr) {
        let certificates = Arc::clone(&self.certificates);
        self.hands.spawn(async move {
            let why = match timeout(PATIENCE, handshake(stream, &certificates)).await {
                Ok(Ok(stream)) => return Some((stream, peer)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("nothing was said for {PATIENCE:?}"),
            };
            tracing::debug!(%peer, why, "no TLS with who asks for metrics");
            None
        });
    }
}

async fn handshake(
    stream: TcpStream,
    certificates: &Certificates,
) -> io::Result<TlsStream<TcpStream>> {
    let acceptor = certificates.acceptor().map_err(io::Error::other)?;
    acceptor.accept(stream).await
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let has_room = self.hands.len() < AT_ONCE;
            tokio::select! {
                Some(done) = self.hands.join_next() => {
                    if let Ok(Some(shaken)) = done {
                        return shaken;
                    }
                }
                (stream, peer) = Listener::accept(&mut self.listener), if has_room => {
                    self.shake(stream, peer);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
