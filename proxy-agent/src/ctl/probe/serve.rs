//! The server.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

use super::Answer;
use crate::ctl::Exit;

/// How long somebody may take to ask.
const PATIENCE: Duration = Duration::from_secs(5);

/// Both sockets, of both families.
pub(super) struct Server {
    tcp: TcpListener,
    udp: UdpSocket,
}

/// Serves for ever, by the name of this pod.
pub(super) async fn run(port: u16) -> io::Result<Exit> {
    let name = nix::unistd::gethostname()?;
    let server = Server::bind(port).await?;
    match server.serve(name.to_string_lossy().into_owned()).await? {}
}

impl Server {
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        let tcp = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(tcp) => tcp,
            // A kernel without IPv6.
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?,
        };
        let udp = UdpSocket::bind(tcp.local_addr()?).await?;
        Ok(Self { tcp, udp })
    }

    #[cfg(test)]
    pub(super) fn port(&self) -> io::Result<u16> {
        self.tcp.local_addr().map(|address| address.port())
    }

    pub(super) async fn serve(self, name: String) -> io::Result<Infallible> {
        let Self { tcp, udp } = self;
        tokio::try_join!(streams(&tcp, &name), packets(&udp, &name)).map(|(never, _)| never)
    }
}

async fn streams(tcp: &TcpListener, name: &str) -> io::Result<Infallible> {
    loop {
        // What a client did to its own connection is no fault of ours.
        if let Ok((stream, client)) = tcp.accept().await {
            let text = text(name, client)?;
            tokio::spawn(timeout(PATIENCE, answer(stream, text)));
        }
    }
}

/// As a server of HTTP does, so that anything can ask.
async fn answer(mut stream: TcpStream, text: String) -> io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    let length = text.len();
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + &text).as_bytes()).await?;
    stream.shutdown().await
}

async fn packets(udp: &UdpSocket, name: &str) -> io::Result<Infallible> {
    let mut request = [0; 64];
    loop {
        // Errors are of answers that did not arrive.
        if let Ok((_, client)) = udp.recv_from(&mut request).await {
            let text = text(name, client)?;
            drop(udp.send_to(text.as_bytes(), client).await);
        }
    }
}

fn text(name: &str, client: SocketAddr) -> io::Result<String> {
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    let name = name.to_owned();
    Ok(serde_json::to_string(&Answer { name, client })?)
}
