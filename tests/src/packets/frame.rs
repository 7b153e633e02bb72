//! Packets to put in, built by etherparse.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    Ethernet2Header, IpFragOffset, IpNumber, Ipv6FragmentHeader, PacketBuilder, PacketBuilderStep,
    TcpHeader,
};

/// Hardware address of the sender.
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Hardware address of the receiver.
pub(super) const RECEIVER: [u8; 6] = [2, 0, 0, 0, 0, 2];

const SEQUENCE: u32 = 1000;
const ACKNOWLEDGED: u32 = 2000;

/// What a TCP segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    /// Opens.
    Syn,
    /// Answers the opening.
    SynAck,
    /// Carries data.
    Ack,
    /// Closes one side.
    Fin,
    /// Breaks off.
    Rst,
}

fn frame() -> PacketBuilderStep<Ethernet2Header> {
    PacketBuilder::ethernet2(SENDER, RECEIVER)
}

fn ip(from: IpAddr, to: IpAddr) -> PacketBuilderStep<etherparse::IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => frame().ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => frame().ipv6(from.octets(), to.octets(), 64),
        _ => panic!("{from} and {to} are of different families"),
    }
}

/// A TCP segment.
pub fn tcp(from: SocketAddr, to: SocketAddr, what: Tcp, payload: &[u8]) -> Vec<u8> {
    let acknowledged = if what == Tcp::Syn { 0 } else { ACKNOWLEDGED };
    numbered(from, to, what, [SEQUENCE, acknowledged], payload)
}

/// An empty TCP segment with its number and the one that it acknowledges.
pub fn segment(from: SocketAddr, to: SocketAddr, what: Tcp, numbers: [u32; 2]) -> Vec<u8> {
    numbered(from, to, what, numbers, b"")
}

fn numbered(
    from: SocketAddr,
    to: SocketAddr,
    what: Tcp,
    [sequence, acknowledged]: [u32; 2],
    payload: &[u8],
) -> Vec<u8> {
    let mut header = TcpHeader::new(from.port(), to.port(), sequence, 512);
    header.acknowledgment_number = acknowledged;
    header.syn = matches!(what, Tcp::Syn | Tcp::SynAck);
    header.ack = what != Tcp::Syn;
    header.fin = what == Tcp::Fin;
    header.rst = what == Tcp::Rst;
    let mut bytes = Vec::new();
    ip(from.ip(), to.ip())
        .tcp_header(header)
        .write(&mut bytes, payload)
        .expect("write to memory");
    bytes
}

/// A UDP datagram.
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip(from.ip(), to.ip())
        .udp(from.port(), to.port())
        .write(&mut bytes, payload)
        .expect("write to memory");
    bytes
}

/// A chunk of SCTP, by its type (RFC 9260, 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Chunk {
    /// DATA.
    Data = 0,
    /// INIT.
    Init = 1,
    /// INIT ACK.
    InitAck = 2,
}

/// A packet of SCTP with one chunk of so many bytes after its header.
pub fn sctp(from: SocketAddr, to: SocketAddr, chunk: Chunk, length: usize) -> Vec<u8> {
    let mut packet = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    packet.extend([1, 2, 3, 4, 0, 0, 0, 0, chunk as u8, 0]);
    packet.extend((length as u16 + 4).to_be_bytes());
    packet.extend((0..length).map(|number| number as u8));
    let crc = sctp_crc(&packet);
    packet[8..12].copy_from_slice(&crc);
    other(from.ip(), to.ip(), IpNumber::SCTP, &packet)
}

/// The CRC of a packet of SCTP, from its header on, as it stands there.
pub fn sctp_crc(packet: &[u8]) -> [u8; 4] {
    let mut packet = packet.to_vec();
    packet[8..12].fill(0);
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    crc.checksum(&packet).to_le_bytes()
}

/// A packet of any protocol.
pub fn other(from: IpAddr, to: IpAddr, protocol: IpNumber, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip(from, to)
        .write(&mut bytes, protocol, payload)
        .expect("write to memory");
    bytes
}

/// An echo request, or the reply to one.
pub fn ping(from: IpAddr, to: IpAddr, identifier: u16, reply: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = ip(from, to);
    let written = match (from.is_ipv6(), reply) {
        (false, false) => builder
            .icmpv4_echo_request(identifier, 1)
            .write(&mut bytes, b"ping"),
        (false, true) => builder
            .icmpv4_echo_reply(identifier, 1)
            .write(&mut bytes, b"ping"),
        (true, false) => builder
            .icmpv6_echo_request(identifier, 1)
            .write(&mut bytes, b"ping"),
        (true, true) => builder
            .icmpv6_echo_reply(identifier, 1)
            .write(&mut bytes, b"ping"),
    };
    written.expect("write to memory");
    bytes
}

/// Any message of ICMP for IPv6, with a hop limit.
pub fn icmpv6(from: IpAddr, to: IpAddr, kind: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ip(from, to)
        .icmpv6_raw(kind, 0, [0; 4])
        .write(&mut bytes, payload)
        .expect("write to memory");
    // No checksum covers it.
    bytes[14 + 7] = hops;
    bytes
}

/// An ICMP error from `from` to the sender of `packet`: "port unreachable", or "too big".
pub fn error_about(from: IpAddr, to: IpAddr, packet: &[u8], too_big: bool) -> Vec<u8> {
    let quoted = &packet[14..packet.len().min(14 + 96)];
    let mtu = [0, 0, 0x05, 0x14];
    let rest = if too_big { mtu } else { [0; 4] };
    let mut bytes = Vec::new();
    let written = match (from.is_ipv6(), too_big) {
        (false, true) => ip(from, to)
            .icmpv4_raw(3, 4, rest)
            .write(&mut bytes, quoted),
        (false, false) => ip(from, to)
            .icmpv4_raw(3, 3, rest)
            .write(&mut bytes, quoted),
        (true, true) => ip(from, to)
            .icmpv6_raw(2, 0, rest)
            .write(&mut bytes, quoted),
        (true, false) => ip(from, to)
            .icmpv6_raw(1, 4, rest)
            .write(&mut bytes, quoted),
    };
    written.expect("write to memory");
    bytes
}

/// The packet with something between its IP header and its transport: IPv4 options, or a header of options for the
/// destination (RFC 8200, 4.6), which say nothing.
pub fn with_options(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    if packet[12..14] == [0x86, 0xdd] {
        let transport = std::mem::replace(&mut bytes[20], 60);
        // PadN of four bytes.
        bytes.splice(54..54, [transport, 0, 1, 4, 0, 0, 0, 0]);
        let length = u16::try_from(bytes.len() - 54).expect("a short packet");
        bytes[18..20].copy_from_slice(&length.to_be_bytes());
        return bytes;
    }
    let (mut ip, _) = etherparse::Ipv4Header::from_slice(&packet[14..]).expect("an IPv4 packet");
    // Three times "no operation", then the end of options.
    ip.options = [1, 1, 1, 0].into();
    ip.total_len += 4;
    ip.header_checksum = ip.calc_header_checksum();
    bytes.splice(14..34, ip.to_bytes());
    bytes
}

/// An untagged frame's datagram as two fragments, of the first half of its payload and of the second.
pub fn fragments(datagram: &[u8], number: u16) -> [Vec<u8>; 2] {
    let half = payload(datagram).len() / 2 / 8 * 8;
    let all = pieces(datagram, number, &[half]);
    all.try_into().expect("two pieces")
}

/// An untagged frame's datagram as fragments that begin at the start of its payload and at these offsets, multiples of 8.
pub fn pieces(datagram: &[u8], number: u16, cuts: &[usize]) -> Vec<Vec<u8>> {
    let payload = payload(datagram);
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(payload.len()));
    let piece = |(start, end): (usize, usize)| {
        let offset = u16::try_from(start / 8).expect("a datagram");
        let offset = IpFragOffset::try_new(offset).expect("a datagram");
        let more = end < payload.len();
        if is_ipv6(datagram) {
            piece_v6(datagram, number, (offset, more), &payload[start..end])
        } else {
            piece_v4(datagram, number, (offset, more), &payload[start..end])
        }
    };
    starts.zip(ends).map(piece).collect()
}

fn is_ipv6(datagram: &[u8]) -> bool {
    datagram[12..14] == [0x86, 0xdd]
}

fn payload(datagram: &[u8]) -> &[u8] {
    &datagram[14 + if is_ipv6(datagram) { 40 } else { 20 }..]
}

fn piece_v6(
    datagram: &[u8],
    number: u16,
    (offset, more): (IpFragOffset, bool),
    part: &[u8],
) -> Vec<u8> {
    let fragment = Ipv6FragmentHeader::new(IpNumber(datagram[20]), offset, more, number.into());
    let mut bytes = datagram[..14 + 40].to_vec();
    bytes[20] = 44;
    let length = u16::try_from(part.len() + 8).expect("a datagram");
    bytes[18..20].copy_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&fragment.to_bytes());
    bytes.extend_from_slice(part);
    bytes
}

fn piece_v4(
    datagram: &[u8],
    number: u16,
    (offset, more): (IpFragOffset, bool),
    part: &[u8],
) -> Vec<u8> {
    let (mut ip, _) = etherparse::Ipv4Header::from_slice(&datagram[14..]).expect("an IPv4 packet");
    ip.identification = number;
    ip.fragment_offset = offset;
    ip.more_fragments = more;
    ip.dont_fragment = false;
    ip.set_payload_len(part.len()).expect("a datagram");
    ip.header_checksum = ip.calc_header_checksum();
    let mut bytes = datagram[..14].to_vec();
    bytes.extend_from_slice(&ip.to_bytes());
    bytes.extend_from_slice(part);
    bytes
}
