//! Checksums of translated packets, whatever they were: every value that there is, of addresses whose change shows in the
//! sum and of such whose change does not, with and without another port.

use std::net::{IpAddr, SocketAddr};

use proxy_common::address::{TCP, UDP};
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan, REDIRECT, Tcp, see, tcp, udp};

/// Where the backend listens.
const SERVED: u16 = 8080;
/// Offset of a UDP checksum in a datagram.
const UDP_CHECKSUM: usize = 6;
/// The same in a TCP segment.
const TCP_CHECKSUM: usize = 16;

/// A Service's address that has the same sum as the backend's.
fn alike(plan: &Plan) -> IpAddr {
    let address = if plan.is_ipv6() {
        "fd00:2::2"
    } else {
        "10.0.0.4"
    };
    address.parse().unwrap()
}

#[test]
fn whatever_they_were_they_are_right_when_a_packet_is_turned() {
    let mut bench = Bench::new().unwrap();
    let mut id = 0;
    for plan in FAMILIES {
        for address in [plan.vip, alike(&plan)] {
            for port in [80, SERVED] {
                for protocol in [TCP, UDP] {
                    id += 1;
                    let vip = SocketAddr::new(address, port);
                    let backend = plan.neighbour(SERVED);
                    bench.service(id, vip, protocol, &[backend], 0).unwrap();
                    let client = plan.pod(4000 + u16::try_from(id).unwrap());
                    every_sum(&mut bench, (client, vip, backend), protocol);
                }
            }
        }
    }
}

fn every_sum(
    bench: &mut Bench,
    (client, vip, backend): (SocketAddr, SocketAddr, SocketAddr),
    protocol: u8,
) {
    let packet = |what, payload: &[u8]| match protocol {
        TCP => tcp(client, vip, what, payload),
        _ => udp(client, vip, payload),
    };
    let mut pass = |data: &[u8]| {
        let outcome = bench.run(Hook::FromPod, data).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        // Which compares the checksums.
        let seen = see(&outcome.bytes);
        assert_eq!((seen.source, seen.destination), (client, backend));
        outcome.bytes
    };
    pass(&packet(Tcp::Syn, b"first"));
    let at = 14
        + if client.is_ipv6() { 40 } else { 20 }
        + if protocol == TCP {
            TCP_CHECKSUM
        } else {
            UDP_CHECKSUM
        };
    let zeros = packet(Tcp::Ack, &[0, 0]);
    let turned = pass(&zeros);
    let sums = [&zeros, &turned].map(|bytes| u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    for word in (0..=u16::MAX)
        .step_by(509)
        .chain(sums.into_iter().flat_map(near))
    {
        pass(&packet(Tcp::Ack, &word.to_be_bytes()));
    }
}

/// Words in place of zeros that bring a sum to where it goes over: a larger word makes it smaller, in ones' complement.
fn near(sum: u16) -> impl Iterator<Item = u16> {
    (0..4).flat_map(move |by| [sum.wrapping_add(by), sum.wrapping_sub(by)])
}

#[test]
fn a_datagram_without_one_goes_without() {
    let mut bench = Bench::new().unwrap();
    let plan = FAMILIES[0];
    let (client, vip, backend) = (plan.pod(4000), plan.vip(80), plan.neighbour(SERVED));
    bench.service(1, vip, UDP, &[backend], 0).unwrap();
    let mut datagram = udp(client, vip, b"unsummed");
    let at = 14 + 20 + UDP_CHECKSUM;
    datagram[at..at + 2].fill(0);
    for _ in 0..2 {
        let outcome = bench.run(Hook::FromPod, &datagram).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        assert_eq!(outcome.bytes[at..at + 2], [0, 0]);
        assert_eq!(outcome.bytes[30..34], [10, 1, 0, 3]);
    }
}
