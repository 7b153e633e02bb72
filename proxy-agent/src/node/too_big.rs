//! News of routers that had no room for a packet of this node: the kernel notes what they say, and tells nobody
//! (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/route.c#L610>).

use std::{io, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::{net::UdpSocket, sync::Notify, time::sleep};

/// Between one piece of news and the next, at least: whoever sends such messages at will must not keep the node busy.
const PAUSE: Duration = Duration::from_millis(500);

/// Sockets that get these messages, of both families. They are raw ones: only to wait for and to read them are they taken for UDP's.
pub(super) struct TooBig([UdpSocket; 2]);

impl TooBig {
    /// Opens them in the calling thread's namespace. A runtime must be at work.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self([
            open(Domain::IPV4, Protocol::ICMPV4, &FILTER4)?,
            open(Domain::IPV6, Protocol::ICMPV6, &FILTER6)?,
        ]))
    }

    /// Tells of them for ever.
    pub(super) async fn follow(self, news: Arc<Notify>) {
        let [v4, v6] = &self.0;
        loop {
            tokio::select! {
                () = one(v4) => {}
                () = one(v6) => {}
            }
            news.notify_one();
            sleep(PAUSE).await;
            drain(v4);
            drain(v6);
            // What came meanwhile.
            news.notify_one();
        }
    }
}

/// An instruction of a classic filter: code, jump if true and if false, operand.
const fn step(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter::new(code, jt, jf, k)
}

/// `ldxb 4*([0]&0xf)`: behind the header of IPv4.
const SKIP_HEADER: u16 = 0xb1;
/// `ldb [x+k]` and `ldb [k]`.
const LOAD_BEHIND: u16 = 0x50;
const LOAD: u16 = 0x30;
/// `jeq #k`.
const EQUALS: u16 = 0x15;
/// `ret #k`.
const END: u16 = 0x06;
/// What is read of a message.
const LENGTH: u32 = 64;

/// Destination unreachable (3), fragmentation needed (4): RFC 1191.
const FILTER4: [SockFilter; 7] = [
    step(SKIP_HEADER, 0, 0, 0),
    step(LOAD_BEHIND, 0, 0, 0),
    step(EQUALS, 0, 3, 3),
    step(LOAD_BEHIND, 0, 0, 1),
    step(EQUALS, 0, 1, 4),
    step(END, 0, 0, LENGTH),
    step(END, 0, 0, 0),
];

/// Packet too big (2): RFC 4443, 3.2. The header is not there.
const FILTER6: [SockFilter; 4] = [
    step(LOAD, 0, 0, 0),
    step(EQUALS, 0, 1, 2),
    step(END, 0, 0, LENGTH),
    step(END, 0, 0, 0),
];

fn open(domain: Domain, protocol: Protocol, filter: &[SockFilter]) -> io::Result<UdpSocket> {
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.attach_filter(filter)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// Until there is one.
async fn one(socket: &UdpSocket) {
    // An error of the socket is no news, and goes by being read.
    while socket.recv(&mut [0; LENGTH as usize]).await.is_err() {
        sleep(PAUSE).await;
    }
}

fn drain(socket: &UdpSocket) {
    while socket.try_recv(&mut [0; LENGTH as usize]).is_ok() {}
}
