//! What pods send out of the cluster leaves in the node's name, and nothing else does.

#[path = "masquerade/errors.rs"]
mod errors;
#[path = "masquerade/kinds.rs"]
mod kinds;
#[path = "masquerade/left_alone.rs"]
mod left_alone;
#[path = "masquerade/ports.rs"]
mod ports;
#[path = "masquerade/settle.rs"]
mod settle;
#[path = "masquerade/stack.rs"]
mod stack;

use std::net::{IpAddr, SocketAddr};

use proxy_common::address::{ICMP, ICMPV6, SCTP, TCP, UDP};
use weir_tests::packets::{Chunk, Outcome, Tcp, ping, sctp, tcp, udp};

/// What flows carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    Tcp,
    Udp,
    Sctp,
    Echo,
}

const ALL: [Carries; 4] = [Carries::Tcp, Carries::Udp, Carries::Sctp, Carries::Echo];

impl Carries {
    const fn number(self, ipv6: bool) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
            Self::Sctp => SCTP,
            Self::Echo if ipv6 => ICMPV6,
            Self::Echo => ICMP,
        }
    }

    /// What opens a flow; an echo has the sender's port as its identifier.
    fn asks(self, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        match self {
            Self::Tcp => tcp(from, to, Tcp::Syn, b""),
            Self::Udp => udp(from, to, b"question"),
            Self::Sctp => sctp(from, to, Chunk::Init, 16),
            Self::Echo => ping(from.ip(), to.ip(), from.port(), false),
        }
    }

    /// What answers; an echo has the receiver's port as its identifier.
    fn answers(self, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        match self {
            Self::Tcp => tcp(from, to, Tcp::SynAck, b""),
            Self::Echo => ping(from.ip(), to.ip(), to.port(), true),
            Self::Sctp => sctp(from, to, Chunk::InitAck, 16),
            Self::Udp => self.asks(from, to),
        }
    }

    /// Source and destination with ports, of an echo with the identifier in place of the sender's or, `back`, the receiver's;
    /// checksums are looked at.
    fn ends(self, bytes: &[u8], back: bool) -> (SocketAddr, SocketAddr) {
        let seen = weir_tests::packets::see(bytes);
        let (mut from, mut to) = (seen.source, seen.destination);
        let at = 14 + if from.is_ipv6() { 40 } else { 20 };
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        match self {
            Self::Echo if back => to.set_port(word(at + 4)),
            Self::Echo => from.set_port(word(at + 4)),
            _ => {}
        }
        (from, to)
    }

    /// Somebody's port, if there are any.
    const fn port(self, port: u16) -> u16 {
        match self {
            Self::Echo => 0,
            _ => port,
        }
    }

    /// As the flow's tuple has it: both ends of an echo have its identifier.
    fn tuple(self, from: SocketAddr, mut to: SocketAddr) -> [SocketAddr; 2] {
        if self == Self::Echo {
            to.set_port(from.port());
        }
        [from, to]
    }
}

/// Ports of the bench that translated sources have.
fn is_of_node(port: u16) -> bool {
    (20000..21000).contains(&port)
}

fn went(outcome: &Outcome, action: i32, what: &str) {
    assert_eq!((outcome.action, outcome.drop), (action, None), "{what}");
}

const fn at(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip, port)
}
