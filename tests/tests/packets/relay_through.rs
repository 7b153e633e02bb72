//! What XDP relays to another node by itself, and what it leaves to tc, whose flow it is too.

use std::net::{IpAddr, SocketAddr};

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use proxy_common::{
    address::{SCTP, TCP, UDP},
    conntrack::{FLOW_DIRECT, FLOW_RELAYED},
    counters::XDP_BACK,
    frontends::{FLAG_DIRECT, FLAG_RELAYED},
    tunnel::{NETWORK_DIRECT, NETWORK_RELAYED, TUNNEL_MAC, TUNNEL_SENDER_MAC},
};
use weir_tests::{
    packets::{BACK, Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, V4, V6, see, udp},
    vxlan::{TUNNEL, VNI},
};

use super::relay::{ENDS, ROOM, first, relaying};

/// Length of what is put around a frame besides IP, as RFC 7348 has it: Ethernet, UDP, VXLAN.
const AROUND: usize = 14 + 8 + 8;
/// Who ends the tunnel, on the link.
const PEER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];
const NEIGHBOURS: &str = "neighbour replace 192.0.2.77 lladdr 02:00:00:00:00:77 dev net0\n\
                          neighbour replace fd00:3::77 lladdr 02:00:00:00:00:77 dev net0\n";

/// With a neighbour, and a link that XDP knows.
fn at_the_wire(plan: &Plan, protocol: u8, flags: u32, end: &str) -> Bench {
    let mut bench = relaying(plan, protocol, flags, end);
    bench.link("net0", [V4.node, V6.node]).unwrap();
    bench.ip(NEIGHBOURS).unwrap();
    bench
}

/// What is around a frame.
#[derive(Debug, PartialEq, Eq)]
struct Outer {
    ends: [IpAddr; 2],
    congestion: u8,
    whole: bool,
    port: u16,
    from: u16,
    network: u32,
    to: [u8; 6],
}

/// UDP is without a checksum over IPv4, which RFC 7348 asks for, and has a right one over IPv6.
fn unwrap(bytes: &[u8]) -> (Outer, Vec<u8>) {
    let packet = PacketHeaders::from_ethernet_slice(bytes).unwrap();
    let Some(TransportHeader::Udp(header)) = packet.transport else {
        panic!("of UDP");
    };
    let payload = packet.payload.slice();
    let (ends, congestion, whole, around) = match packet.net {
        Some(NetHeaders::Ipv4(ip, _)) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!((ip.time_to_live, header.checksum), (64, 0));
            assert_eq!(usize::from(ip.total_len), bytes.len() - 14);
            let ends = [ip.source, ip.destination].map(IpAddr::from);
            (ends, ip.ecn.value(), ip.dont_fragment, AROUND + 20)
        }
        Some(NetHeaders::Ipv6(ip, _)) => {
            let sum = header.calc_checksum_ipv6(&ip, payload).unwrap();
            assert_eq!(header.checksum, sum);
            assert_eq!((ip.hop_limit, ip.flow_label.value()), (64, 0));
            assert_eq!(usize::from(ip.payload_length), bytes.len() - 54);
            let ends = [ip.source, ip.destination].map(IpAddr::from);
            (ends, ip.traffic_class, true, AROUND + 40)
        }
        other => panic!("of IP: {other:?}"),
    };
    assert_eq!(usize::from(header.length), bytes.len() - around + 16);
    let vxlan = &bytes[around - 8..around];
    assert_eq!((vxlan[0], &vxlan[1..4], vxlan[7]), (8, &[0; 3][..], 0));
    let outer = Outer {
        ends,
        congestion,
        whole,
        port: header.destination_port,
        from: header.source_port,
        network: u32::from_be_bytes([0, vxlan[4], vxlan[5], vxlan[6]]),
        to: bytes[..6].try_into().unwrap(),
    };
    (outer, bytes[around..].to_vec())
}

/// What XDP relays over which families: of SCTP the checksum does not help to sum up an outer one.
fn cases() -> Vec<(Plan, u8, &'static str, IpAddr)> {
    let mut cases = Vec::new();
    for plan in FAMILIES {
        for protocol in [TCP, UDP, SCTP] {
            cases.push((plan, protocol, ENDS[0], V4.node));
            if protocol != SCTP {
                cases.push((plan, protocol, ENDS[1], V6.node));
            }
        }
    }
    cases
}

#[test]
fn it_goes_as_it_is_and_tc_goes_on_with_it() {
    for (plan, protocol, end, own) in cases() {
        for (more, bits, marks) in [
            (FLAG_RELAYED, NETWORK_RELAYED, FLOW_RELAYED),
            (
                FLAG_RELAYED | FLAG_DIRECT,
                NETWORK_RELAYED | NETWORK_DIRECT,
                FLOW_RELAYED | FLOW_DIRECT,
            ),
        ] {
            let mut bench = at_the_wire(&plan, protocol, more, end);
            let (client, to) = (plan.outside(4000), plan.node(30080));
            let packet = first(protocol, client, to);
            let mut ports = Vec::new();
            // The second time by its flow.
            for _ in 0..2 {
                let outcome = bench.run(Hook::FromWire, &packet).unwrap();
                assert_eq!((outcome.action, outcome.drop), (BACK, None), "{end}");
                let (outer, inner) = unwrap(&outcome.bytes);
                ports.push(outer.from);
                let expected = Outer {
                    ends: [own, end.parse().unwrap()],
                    congestion: 0,
                    whole: true,
                    port: TUNNEL,
                    from: outer.from,
                    network: VNI ^ bits,
                    to: PEER,
                };
                assert_eq!(outer, expected);
                assert_eq!(inner[..12], [TUNNEL_MAC, TUNNEL_SENDER_MAC].concat());
                let seen = see(&inner);
                assert_eq!((seen.source, seen.destination, seen.hops), (client, to, 63));
                let at = if plan.is_ipv6() { 54 } else { 34 };
                assert_eq!(inner[at..], packet[at..], "what IP carries");
            }
            assert!(ports[0] >= 0xc000 && ports[0] == ports[1], "{ports:?}");
            assert_eq!(bench.counted(XDP_BACK).unwrap(), 2);
            let flow = bench.flow(client, to, protocol).unwrap().unwrap();
            assert_eq!(flow.flags() & (FLOW_RELAYED | FLOW_DIRECT), marks);
            assert_eq!((flow.target(), flow.facts.endpoint), ((client, to), [0, 0]));
            assert_eq!(bench.run(Hook::FromNet, &packet).unwrap().action, REDIRECT);
        }
    }
}

/// The outer sum is right whatever is carried: of any length, and with any sum of its own.
#[test]
fn any_payload_is_summed_up() {
    for plan in FAMILIES {
        let mut bench = at_the_wire(&plan, UDP, FLAG_RELAYED, ENDS[1]);
        let (client, to) = (plan.outside(4000), plan.node(30080));
        for length in (0..64_u32).chain([255, 256, 1001, 1300]) {
            let payload: Vec<u8> = (0..length)
                .map(|i| (i * 31 + length).to_le_bytes()[0])
                .collect();
            let packet = udp(client, to, &payload);
            let outcome = bench.run(Hook::FromWire, &packet).unwrap();
            assert_eq!(outcome.action, BACK, "{length} bytes");
            // Compares.
            unwrap(&outcome.bytes);
        }
    }
}

/// Ports tell flows apart for routers between nodes.
#[test]
fn flows_leave_by_many_ports() {
    for plan in FAMILIES {
        let mut bench = at_the_wire(&plan, UDP, FLAG_RELAYED, ENDS[0]);
        let mut seen: Vec<u16> = (4000..4064)
            .map(|port| {
                let packet = udp(plan.outside(port), plan.node(30080), b"?");
                let outcome = bench.run(Hook::FromWire, &packet).unwrap();
                unwrap(&outcome.bytes).0.from
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.len() > 48, "{} of 64", seen.len());
    }
}

#[test]
fn congestion_is_told_outside_too() {
    for (plan, end) in FAMILIES
        .into_iter()
        .flat_map(|plan| ENDS.map(|end| (plan, end)))
    {
        let mut bench = at_the_wire(&plan, UDP, FLAG_RELAYED, end);
        for (inner, outer) in [(0, 0), (1, 1), (2, 2), (3, 2)] {
            let mut packet = udp(plan.outside(4000), plan.node(30080), b"?");
            if plan.is_ipv6() {
                packet[15] = inner << 4;
            } else {
                packet[15] = inner;
                let sum = u16::from_be_bytes([packet[24], packet[25]]) - u16::from(inner);
                packet[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            let outcome = bench.run(Hook::FromWire, &packet).unwrap();
            assert_eq!(outcome.action, BACK);
            let (around, frame) = unwrap(&outcome.bytes);
            assert_eq!((around.congestion, frame[15]), (outer, packet[15]));
        }
    }
}

/// What is left to tc goes up as it came, and its flow is begun.
#[test]
fn what_needs_the_kernels_help_is_left_to_tc() {
    let payload = |plan: &Plan, length: u32| {
        let headers = if plan.is_ipv6() { 48 } else { 28 };
        vec![0; (length - headers) as usize]
    };
    for plan in FAMILIES {
        let (client, to) = (plan.outside(4000), plan.node(30080));
        let short = udp(client, to, b"?");
        let fits = udp(client, to, &payload(&plan, ROOM));
        let long = udp(client, to, &payload(&plan, ROOM + 1));
        let mut unsummed = short.clone();
        let at = if plan.is_ipv6() { 60 } else { 40 };
        unsummed[at..at + 2].copy_from_slice(&[0, 0]);
        let gone = "neighbour del 192.0.2.77 dev net0\n";
        let narrow = "link set net0 mtu 1499\n";
        for (what, packet, change, end, action) in [
            ("what has room", &fits, "", ENDS[0], BACK),
            ("over IPv6", &short, "", ENDS[1], BACK),
            ("over IPv6, without a sum", &unsummed, "", ENDS[1], NEXT),
            (
                "over IPv6, no room on the way",
                &fits,
                "link set net0 mtu 1519\n",
                ENDS[1],
                NEXT,
            ),
            ("no room in the tunnel", &long, "", ENDS[0], NEXT),
            ("no room on the way", &fits, narrow, ENDS[0], NEXT),
            ("a neighbour to be asked for", &short, gone, ENDS[0], NEXT),
        ] {
            let mut bench = at_the_wire(&plan, UDP, FLAG_RELAYED, end);
            bench.ip(change).unwrap();
            for _ in 0..2 {
                let outcome = bench.run(Hook::FromWire, packet).unwrap();
                assert_eq!((outcome.action, outcome.drop), (action, None), "{what}");
                assert!(action == BACK || outcome.bytes == **packet, "{what}");
            }
            assert!(bench.flow(client, to, UDP).unwrap().is_some(), "{what}");
        }
    }
}

/// Answers come by the tunnel: what says on the wire that it is one is no packet of the flow.
#[test]
fn an_answer_on_the_wire_goes_up() {
    for plan in FAMILIES {
        let mut bench = at_the_wire(&plan, UDP, FLAG_RELAYED, ENDS[0]);
        let (client, to): (SocketAddr, _) = (plan.outside(4000), plan.node(30080));
        let there = bench.run(Hook::FromWire, &udp(client, to, b"?")).unwrap();
        assert_eq!(there.action, BACK);
        let answer = udp(to, client, b"!");
        let outcome = bench.run(Hook::FromWire, &answer).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, answer));
    }
}

/// It is asked for again with each packet until it is known, by relayed packets and others.
#[test]
fn a_neighbour_is_used_as_soon_as_the_kernel_knows_it() {
    let outside = ["192.0.2.9", "fd00:3::9"];
    for (plan, outside) in FAMILIES.into_iter().zip(outside) {
        for (flags, neighbour) in [(FLAG_RELAYED, "192.0.2.77"), (0, outside)] {
            let mut bench = at_the_wire(&plan, UDP, flags, ENDS[0]);
            let (client, to) = (plan.outside(4000), plan.node(30080));
            let packet = udp(client, to, b"?");
            bench
                .ip(&format!("neighbour del {neighbour} dev net0\n"))
                .unwrap();
            let before = bench.run(Hook::FromWire, &packet).unwrap();
            assert_eq!(before.action, NEXT, "{neighbour}");
            let known =
                format!("neighbour replace {neighbour} lladdr 02:00:00:00:00:88 dev net0\n");
            bench.ip(&known).unwrap();
            let outcome = bench.run(Hook::FromWire, &packet).unwrap();
            assert_eq!(outcome.action, BACK, "{neighbour}");
            assert_eq!(outcome.bytes[..6], [0x02, 0, 0, 0, 0, 0x88]);
        }
    }
}
