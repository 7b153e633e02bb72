//! Packets that come out, taken apart; every checksum is compared with the one that etherparse computes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{
    IpHeaders, IpNumber, LaxPacketHeaders, NetHeaders, PacketHeaders, TransportHeader,
};

use super::frame::sctp_crc;

/// A packet that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Source; port 0 where there is none.
    pub source: SocketAddr,
    /// Destination; port 0 where there is none.
    pub destination: SocketAddr,
    /// Time to live or hop limit.
    pub hops: u8,
    /// TCP.
    pub tcp: Option<etherparse::TcpHeader>,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// ICMP error: source and destination of the quoted packet.
    pub quoted: Option<(SocketAddr, SocketAddr)>,
}

fn addresses(net: &NetHeaders) -> (IpAddr, IpAddr, u8) {
    match net {
        NetHeaders::Ipv4(ip, _) => (
            Ipv4Addr::from(ip.source).into(),
            Ipv4Addr::from(ip.destination).into(),
            ip.time_to_live,
        ),
        NetHeaders::Ipv6(ip, _) => (
            Ipv6Addr::from(ip.source).into(),
            Ipv6Addr::from(ip.destination).into(),
            ip.hop_limit,
        ),
        NetHeaders::Arp(_) => panic!("an ARP packet"),
    }
}

/// Takes a packet apart and checks its checksums, also that of a quoted IPv4 header.
pub fn see(bytes: &[u8]) -> Seen {
    let packet = PacketHeaders::from_ethernet_slice(bytes).expect("a whole packet");
    let net = packet.net.as_ref().expect("an IP packet");
    let (source, destination, hops) = addresses(net);
    if let NetHeaders::Ipv4(ip, _) = net {
        let sum = ip.calc_header_checksum();
        assert_eq!(ip.header_checksum, sum, "IPv4 checksum of {ip:?}");
    }
    let mut seen = Seen {
        source: SocketAddr::new(source, 0),
        destination: SocketAddr::new(destination, 0),
        hops,
        tcp: None,
        icmp: None,
        quoted: None,
    };
    if let Some(transport) = packet.transport {
        check(&transport, (source, destination), packet.payload.slice());
        match transport {
            TransportHeader::Tcp(tcp) => {
                seen.set_ports(tcp.source_port, tcp.destination_port);
                seen.tcp = Some(tcp);
            }
            TransportHeader::Udp(udp) => seen.set_ports(udp.source_port, udp.destination_port),
            TransportHeader::Icmpv4(icmp) => {
                icmp_error(&mut seen, &icmp.to_bytes(), packet.payload.slice());
            }
            TransportHeader::Icmpv6(icmp) => {
                icmp_error(&mut seen, &icmp.to_bytes(), packet.payload.slice());
            }
            // Refused by the check.
            TransportHeader::Igmp(_) => {}
        }
    } else if protocol(net) == Some(IpNumber::SCTP) {
        sctp(&mut seen, packet.payload.slice());
    }
    seen
}

fn protocol(net: &NetHeaders) -> Option<IpNumber> {
    match net {
        NetHeaders::Ipv4(ip, _) if !ip.is_fragmenting_payload() => Some(ip.protocol),
        NetHeaders::Ipv6(ip, _) => Some(ip.next_header),
        _ => None,
    }
}

/// Zero is the CRC of a packet for which the device is to make one.
fn sctp(seen: &mut Seen, packet: &[u8]) {
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    seen.set_ports(port(0), port(2));
    let given = &packet[8..12];
    assert!(given == [0; 4] || given == sctp_crc(packet), "CRC of SCTP");
}

impl Seen {
    fn set_ports(&mut self, source: u16, destination: u16) {
        self.source.set_port(source);
        self.destination.set_port(destination);
    }
}

/// Compares a transport's checksum with the right one.
fn check(transport: &TransportHeader, ends: (IpAddr, IpAddr), payload: &[u8]) {
    use TransportHeader::{Icmpv4, Icmpv6, Tcp, Udp};
    let (given, right) = match (transport, ends) {
        (Tcp(tcp), (IpAddr::V4(s), IpAddr::V4(d))) => (
            tcp.checksum,
            tcp.calc_checksum_ipv4_raw(s.octets(), d.octets(), payload),
        ),
        (Tcp(tcp), (IpAddr::V6(s), IpAddr::V6(d))) => (
            tcp.checksum,
            tcp.calc_checksum_ipv6_raw(s.octets(), d.octets(), payload),
        ),
        (Udp(udp), (IpAddr::V4(s), IpAddr::V4(d))) => (
            udp.checksum,
            udp.calc_checksum_ipv4_raw(s.octets(), d.octets(), payload),
        ),
        (Udp(udp), (IpAddr::V6(s), IpAddr::V6(d))) => (
            udp.checksum,
            udp.calc_checksum_ipv6_raw(s.octets(), d.octets(), payload),
        ),
        (Icmpv4(icmp), (IpAddr::V4(_), IpAddr::V4(_))) => {
            (icmp.checksum, Ok(icmp.icmp_type.calc_checksum(payload)))
        }
        (Icmpv6(icmp), (IpAddr::V6(s), IpAddr::V6(d))) => (
            icmp.checksum,
            icmp.icmp_type
                .calc_checksum(s.octets(), d.octets(), payload),
        ),
        _ => panic!("{transport:?} between {ends:?}"),
    };
    let right = right.expect("a short packet");
    assert_eq!(given, right, "checksum of {transport:?}");
}

fn icmp_error(seen: &mut Seen, header: &[u8], payload: &[u8]) {
    seen.icmp = Some((header[0], header[1]));
    let error = if seen.source.is_ipv6() {
        header[0] < 128
    } else {
        matches!(header[0], 3 | 4 | 11 | 12)
    };
    if !error {
        return;
    }
    let quoted = LaxPacketHeaders::from_ip(payload).expect("a quoted packet");
    let net = quoted.net.as_ref().expect("a quoted IP header");
    if let NetHeaders::Ipv4(ip, _) = net {
        assert_eq!(
            ip.header_checksum,
            ip.calc_header_checksum(),
            "quoted {ip:?}"
        );
    }
    let (source, destination, _) = addresses(net);
    let at = IpHeaders::from_slice_lax(payload)
        .expect("a quoted IP header")
        .0
        .header_len();
    let port = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    seen.quoted = Some((
        SocketAddr::new(source, port(at)),
        SocketAddr::new(destination, port(at + 2)),
    ));
}
