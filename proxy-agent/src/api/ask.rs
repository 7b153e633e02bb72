//! Questions to an HTTP server of this node.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// As long as a kubelet's probe waits at the most.
const PATIENCE: Duration = Duration::from_secs(5);

/// The code that a server answers with, which listens there; an address that stands for all is asked by the loopback.
pub async fn code(listens: SocketAddr, path: &str) -> Result<u16, String> {
    let address = SocketAddr::new(near(listens.ip()), listens.port());
    let said = |error| format!("GET http://{address}{path}: {error}");
    match timeout(PATIENCE, exchange(address, path)).await {
        Ok(answer) => answer.map_err(said),
        Err(_) => Err(said(format!("no answer in {PATIENCE:?}"))),
    }
}

async fn exchange(address: SocketAddr, path: &str) -> Result<u16, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", address.to_string());
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    driver.abort();
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(answer.status().as_u16())
}

const fn near(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    }
}
