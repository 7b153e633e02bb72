//! Somebody outside who is asked, and the flows to it.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use weir_tests::world::{Place, Server, Talk};

const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// An echo of TCP, and a socket of datagrams that speaks when it is told.
pub(crate) struct Peer {
    at: SocketAddr,
    udp: UdpSocket,
    _tcp: Server,
}

impl Peer {
    pub(crate) fn start(place: &Place, at: SocketAddr) -> Self {
        let udp = place.udp(at).unwrap();
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            at,
            udp,
            _tcp: Server::tcp(place, at, "peer").unwrap(),
        }
    }
}

enum Carrier {
    Tcp(Talk),
    Udp(UdpSocket),
}

/// A connection, or a socket of datagrams that is connected.
pub(crate) struct Flow {
    what: String,
    carrier: Carrier,
    /// As whom the peer sees it.
    seen: Option<SocketAddr>,
    is_ipv6: bool,
    count: u32,
}

impl Flow {
    /// From an address and port, which others may use too; any port for 0.
    pub(crate) fn open(place: &Place, from: SocketAddr, peer: &Peer, protocol: Protocol) -> Self {
        let what = format!("{protocol:?} from {from} to {}", peer.at);
        let carrier = match protocol {
            Protocol::Tcp => {
                let talk = Talk::open_from(place, from, peer.at);
                let talk = talk.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(talk.name(), "peer", "{what}");
                Carrier::Tcp(talk)
            }
            Protocol::Udp => {
                let socket = place.udp(from).unwrap();
                socket.connect(peer.at).unwrap();
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                Carrier::Udp(socket)
            }
        };
        Self {
            what,
            carrier,
            seen: None,
            is_ipv6: from.is_ipv6(),
            count: 0,
        }
    }

    pub(crate) const fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// As whom the peer has seen it; of datagrams alone.
    pub(crate) const fn seen(&self) -> Option<SocketAddr> {
        self.seen
    }

    /// A question and its answer.
    pub(crate) fn talk(&mut self, peer: &Peer) {
        let what = &self.what;
        match &mut self.carrier {
            Carrier::Tcp(talk) => talk
                .echo("whose answer is this?")
                .unwrap_or_else(|error| panic!("{what}: {error}")),
            Carrier::Udp(socket) => {
                self.count += 1;
                let asked = self.count.to_be_bytes();
                socket.send(&asked).unwrap();
                let mut buffer = [0; 16];
                let (length, seen) = peer
                    .udp
                    .recv_from(&mut buffer)
                    .unwrap_or_else(|error| panic!("{what}: the question: {error}"));
                assert_eq!(buffer[..length], asked, "{what}");
                self.seen = Some(seen);
                self.hear(peer);
            }
        }
    }

    /// What the peer says of itself.
    pub(crate) fn hear(&mut self, peer: &Peer) {
        let Carrier::Udp(socket) = &self.carrier else {
            return;
        };
        let what = &self.what;
        self.count += 1;
        let said = self.count.to_be_bytes();
        peer.udp.send_to(&said, self.seen.unwrap()).unwrap();
        let mut buffer = [0; 16];
        let length = socket
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("{what}: the answer: {error}"));
        assert_eq!(buffer[..length], said, "{what}");
    }
}
