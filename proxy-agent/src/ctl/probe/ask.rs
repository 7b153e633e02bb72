//! Who asks.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket, lookup_host},
    time::timeout,
};

use super::Outcome;
use crate::ctl::args::AskArgs;

/// A packet may be lost, on the best of ways.
const AGAIN: Duration = Duration::from_millis(400);

/// Asks, and says what came of it.
pub(super) async fn run(args: &AskArgs) -> Outcome {
    match timeout(args.timeout, ask(args)).await {
        Err(_) => Outcome::Silent,
        Ok(Ok(said)) => Outcome::Answered {
            answer: serde_json::from_slice(body(&said)).ok(),
        },
        Ok(Err(error)) => failed(&error),
    }
}

async fn ask(args: &AskArgs) -> io::Result<Vec<u8>> {
    let to = resolve(args).await?;
    if args.udp {
        packet(to).await
    } else {
        stream(to).await
    }
}

async fn resolve(args: &AskArgs) -> io::Result<SocketAddr> {
    let mut found = lookup_host(&args.to).await?;
    let found = found.find(|address| address.is_ipv4() == args.family.is_ipv4());
    found.ok_or_else(|| io::Error::other(format!("{} has no address of this family", args.to)))
}

async fn stream(to: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await?;
    let mut said = Vec::new();
    let mut piece = [0; 1024];
    // Who answers without closing has answered.
    loop {
        match stream.read(&mut piece).await? {
            0 if said.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            0 => return Ok(said),
            read => said.extend_from_slice(&piece[..read]),
        }
    }
}

async fn packet(to: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    let mut said = vec![0; 1024];
    loop {
        socket.send(b"?").await?;
        if let Ok(read) = timeout(AGAIN, socket.recv(&mut said)).await {
            said.truncate(read?);
            return Ok(said);
        }
    }
}

/// What follows the head of an HTTP response, if there is one.
fn body(said: &[u8]) -> &[u8] {
    let end = said.windows(4).position(|four| four == b"\r\n\r\n");
    end.map_or(said, |end| &said[end + 4..])
}

fn failed(error: &io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::TimedOut => Outcome::Silent,
        _ => Outcome::Failed {
            error: error.to_string(),
        },
    }
}
