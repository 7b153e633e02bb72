//! Sockets of the HTTP servers. An address that stands for all means both families, whatever
//! `net.ipv6.bindv6only` says, and the one that there is on hosts with one family only.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// As many as axum's and tokio's own listeners let wait.
const BACKLOG: i32 = 1024;

/// Where health check node ports are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenOn {
    /// On every address, of both families.
    All,
    /// On these; on none if there are none.
    Only(Vec<IpAddr>),
}

/// On none.
impl Default for ListenOn {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

/// Listens. Needs a runtime.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return open(address, true);
    }
    let port = address.port();
    match open((Ipv6Addr::UNSPECIFIED, port).into(), false) {
        Err(error) if no_ipv6(&error) => open((Ipv4Addr::UNSPECIFIED, port).into(), false),
        result => result,
    }
}

/// The kernel has no IPv6 (`ipv6.disable=1`), or none to bind here.
fn no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPFNOSUPPORT)
    )
}

fn open(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Connections of the agent before, in TIME_WAIT, are no other listener.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    use tokio::net::TcpStream;

    use super::bind;

    #[tokio::test]
    async fn all_addresses_are_those_of_both_families() {
        for all in ["0.0.0.0:0", "[::]:0"] {
            let listener = bind(all.parse().unwrap()).unwrap();
            let port = listener.local_addr().unwrap().port();
            for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
                let at = SocketAddr::new(ip, port);
                TcpStream::connect(at)
                    .await
                    .unwrap_or_else(|error| panic!("{all}: {at}: {error}"));
            }
        }
    }

    #[tokio::test]
    async fn one_address_is_that_one() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        TcpStream::connect((Ipv6Addr::LOCALHOST, port))
            .await
            .unwrap_err();
    }
}
