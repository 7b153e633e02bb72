//! What is put in, and what comes of it.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader};
use proxy_common::address::TCP;
use weir_tests::{
    flow_table::{ICMP, Tuple},
    packets::{Hook, error_about, fragments, udp},
};

/// Flags and numbers of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "flags, as TCP has them")]
pub(crate) struct Segment {
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    /// How many bytes it carries.
    pub(crate) data: u16,
}

impl Segment {
    /// Whether it asks for a new connection.
    pub(crate) const fn opens(self) -> bool {
        self.syn && !self.ack && !self.rst
    }

    /// The number by which all of it is acknowledged.
    pub(crate) fn end(self) -> u32 {
        let length = u32::from(self.data) + u32::from(self.syn) + u32::from(self.fin);
        self.sequence.wrapping_add(length)
    }
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Segment(Segment),
    Datagram,
    Request,
    Reply,
    /// An ICMP error from this address, about a packet with the tuple.
    Error(IpAddr),
}

/// Which part of a datagram a packet is; with the datagram's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First(u16),
    Later(u16),
}

/// A packet to put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) hook: Hook,
    /// Of an error: that of the packet which it quotes.
    pub(crate) tuple: Tuple,
    pub(crate) kind: Kind,
    pub(crate) part: Part,
}

impl Packet {
    /// Source and destination of the IP header.
    pub(crate) const fn addresses(&self) -> (IpAddr, IpAddr) {
        match self.kind {
            Kind::Error(by) => (by, self.tuple.from.ip()),
            _ => (self.tuple.from.ip(), self.tuple.to.ip()),
        }
    }

    /// The tuple of the flow's packets that travel as this one does.
    pub(crate) const fn key(&self) -> Tuple {
        match self.kind {
            Kind::Error(_) => self.tuple.reversed(),
            _ => self.tuple,
        }
    }

    pub(crate) const fn segment(&self) -> Option<Segment> {
        match (self.kind, self.part) {
            (Kind::Segment(segment), Part::Whole | Part::First(_)) => Some(segment),
            _ => None,
        }
    }

    /// A later fragment has no header of its own transport.
    pub(crate) const fn has_header(&self) -> bool {
        !matches!(self.part, Part::Later(_))
    }

    /// Whether what comes out can show ports, or the identifier of an echo in their place.
    pub(crate) const fn shows_ports(&self) -> bool {
        self.has_header()
    }

    /// Whether it is an echo request, or may be.
    pub(crate) const fn asks(&self) -> bool {
        match self.kind {
            Kind::Request => true,
            Kind::Reply => !self.has_header(),
            _ => false,
        }
    }

    /// The frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Tuple { from, to, .. } = self.tuple;
        let whole = match self.kind {
            Kind::Segment(segment) => bytes_of(from, to, segment),
            Kind::Datagram => udp(from, to, &DATA),
            Kind::Request => echo(from, to, false),
            Kind::Reply => echo(from, to, true),
            Kind::Error(by) => return error_about(by, from.ip(), &self.quoted(), false),
        };
        match self.part {
            Part::Whole => whole,
            Part::First(number) => fragments(&whole, number)[0].clone(),
            Part::Later(number) => fragments(&whole, number)[1].clone(),
        }
    }

    fn quoted(&self) -> Vec<u8> {
        let Tuple { protocol, from, to } = self.tuple;
        match protocol {
            TCP => bytes_of(from, to, Segment::default()),
            ICMP => echo(from, to, false),
            _ => udp(from, to, b"data"),
        }
    }
}

/// Enough to be cut in two.
const DATA: [u8; 48] = [0x77; 48];

fn ip(from: SocketAddr, to: SocketAddr) -> PacketBuilderStep<IpHeaders> {
    let frame = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => frame.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => frame.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("{from} and {to} are of different families"),
    }
}

fn echo(from: SocketAddr, to: SocketAddr, reply: bool) -> Vec<u8> {
    let (identifier, ip) = (from.port(), ip(from, to));
    let mut bytes = Vec::new();
    let written = match (from.is_ipv6(), reply) {
        (false, false) => ip
            .icmpv4_echo_request(identifier, 1)
            .write(&mut bytes, &DATA),
        (false, true) => ip.icmpv4_echo_reply(identifier, 1).write(&mut bytes, &DATA),
        (true, false) => ip
            .icmpv6_echo_request(identifier, 1)
            .write(&mut bytes, &DATA),
        (true, true) => ip.icmpv6_echo_reply(identifier, 1).write(&mut bytes, &DATA),
    };
    written.expect("write to memory");
    bytes
}

fn bytes_of(from: SocketAddr, to: SocketAddr, segment: Segment) -> Vec<u8> {
    let mut header = TcpHeader::new(from.port(), to.port(), segment.sequence, 512);
    header.acknowledgment_number = segment.acknowledged;
    header.syn = segment.syn;
    header.ack = segment.ack;
    header.fin = segment.fin;
    header.rst = segment.rst;
    let mut bytes = Vec::new();
    ip(from, to)
        .tcp_header(header)
        .write(&mut bytes, &vec![0x77; segment.data.into()])
        .expect("write to memory");
    bytes
}
