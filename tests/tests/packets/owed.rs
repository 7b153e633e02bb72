//! What the node owes the sender of a packet that it turns, or would have turned, and cannot send on: an ICMP error from the address by which
//! the sender knows the node, about the packet as it was sent.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use etherparse::Ipv4Header;
use proxy_common::{
    address::{SCTP, TCP, UDP},
    frontends::FLAG_NODE_PORT,
    node::NODE_FORWARD_BPF,
};
use weir_tests::packets::{
    Bench, Chunk, FAMILIES, Hook, NEXT, Outcome, Plan, REDIRECT, Tcp, V4, V6, fragments, sctp, see,
    tcp, udp, with_options,
};

/// MTU of the way that is too narrow: of its route, not of its device.
const NARROW: u16 = 1300;
/// Data for which that has no room, and the device has.
const MUCH: usize = 1320;

/// Why the packet cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    NoHops,
    TooBig,
    NoRoute,
}

/// Who sends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Somebody outside, to a `NodePort` of a pod elsewhere.
    Client,
    /// That pod, to the node that asked in its own name.
    Answer,
    /// A pod here, to a Service of a pod elsewhere.
    Pod,
    /// A pod here, to somebody outside who asked a `NodePort`.
    PodsAnswer,
    /// The host, to a Service of a pod elsewhere.
    Host,
}

use Origin::{Answer, Client, Host, Pod, PodsAnswer};

impl Origin {
    const ALL: [Self; 5] = [Client, Answer, Pod, PodsAnswer, Host];

    const fn hook(self) -> Hook {
        match self {
            Client | Answer => Hook::FromNet,
            Pod | PodsAnswer => Hook::FromPod,
            Host => Hook::FromHost,
        }
    }

    /// Whose way is at fault.
    const fn far(self, plan: &Plan) -> IpAddr {
        match self {
            Client | Pod | Host => plan.remote_pod,
            Answer | PodsAnswer => plan.outside,
        }
    }

    /// By which address the sender knows the node: outside, that of the link.
    const fn speaker(self, plan: &Plan) -> IpAddr {
        match self {
            Client | Answer => plan.second,
            _ => plan.node,
        }
    }
}

/// What lies between IP header and transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    Options,
    First,
}

fn packet(protocol: u8, from: SocketAddr, to: SocketAddr, opens: bool, data: usize) -> Vec<u8> {
    let payload = vec![0x5a; data];
    match protocol {
        TCP => tcp(from, to, if opens { Tcp::Syn } else { Tcp::Ack }, &payload),
        SCTP if opens => sctp(from, to, Chunk::Init, 16 + data),
        SCTP => sctp(from, to, Chunk::Data, 16 + data),
        _ => udp(from, to, &payload),
    }
}

/// With so many hops left.
fn with_hops(packet: &[u8], hops: u8) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    if bytes[12..14] == [0x86, 0xdd] {
        bytes[21] = hops;
        return bytes;
    }
    let (mut ip, _) = Ipv4Header::from_slice(&bytes[14..]).unwrap();
    ip.time_to_live = hops;
    ip.header_checksum = ip.calc_header_checksum();
    let header = ip.to_bytes();
    bytes.splice(14..14 + header.len(), header);
    bytes
}

fn bench(plan: &Plan, origin: Origin, why: Why) -> Bench {
    let mut bench = Bench::new().unwrap();
    bench.configure(NODE_FORWARD_BPF).unwrap();
    bench.link("net0", [V4.second, V6.second]).unwrap();
    let (any, whole) = if plan.is_ipv6() {
        ("[::]:30080", 128)
    } else {
        ("0.0.0.0:30080", 32)
    };
    let backend = if origin == PodsAnswer {
        plan.pod(8080)
    } else {
        plan.remote_pod(8080)
    };
    for (id, protocol) in [(1, TCP), (2, UDP), (3, SCTP)] {
        let at = any.parse().unwrap();
        bench
            .service(id, at, protocol, &[backend], FLAG_NODE_PORT)
            .unwrap();
        bench
            .service(id + 10, plan.vip(80), protocol, &[backend], 0)
            .unwrap();
    }
    let far = origin.far(plan);
    let outside = plan.outside;
    let route = match why {
        Why::NoHops => return bench,
        Why::NoRoute => format!("route add unreachable {far}/{whole}\n"),
        Why::TooBig if far == outside => format!("route add {far}/{whole} dev net0 mtu {NARROW}\n"),
        Why::TooBig => format!("route add {far}/{whole} via {outside} mtu {NARROW}\n"),
    };
    bench.ip(&route).unwrap();
    if why == Why::TooBig {
        bench.route_mtu(far, whole, NARROW.into()).unwrap();
    }
    bench
}

/// Begins the flow of which the packet is, if another one does that: where it comes from and goes to.
fn ends(
    bench: &mut Bench,
    plan: &Plan,
    origin: Origin,
    protocol: u8,
    port: u16,
) -> [SocketAddr; 2] {
    let (client, frontend) = (plan.outside(port), plan.node(30080));
    match origin {
        Client => [client, frontend],
        Pod => [plan.pod(port), plan.vip(80)],
        Host => [plan.node(port), plan.vip(80)],
        Answer | PodsAnswer => {
            let asked = packet(protocol, client, frontend, true, 0);
            let outcome = bench.run(Hook::FromNet, &asked).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
            let seen = see(&outcome.bytes);
            [seen.destination, seen.source]
        }
    }
}

/// What it is that is told, by family: type and code, and the MTU.
fn told(plan: &Plan, why: Why) -> ((u8, u8), u16) {
    let mtu = if why == Why::TooBig { NARROW } else { 0 };
    let kind = match (why, plan.is_ipv6()) {
        (Why::NoHops, false) => (11, 0),
        (Why::TooBig, false) => (3, 4),
        (Why::NoRoute, false) | (Why::NoHops, true) => (3, 0),
        (Why::TooBig, true) => (2, 0),
        (Why::NoRoute, true) => (1, 0),
    };
    (kind, mtu)
}

/// The error is about this packet, byte for byte, and for its sender.
fn is_owed(outcome: &Outcome, sent: &[u8], plan: &Plan, origin: Origin, why: Why, what: &str) {
    let reason = match why {
        Why::NoHops => "hop-limit",
        Why::TooBig => "too-big",
        Why::NoRoute => "no-route",
    };
    assert_eq!(
        (outcome.action, outcome.drop),
        (REDIRECT, Some(reason)),
        "{what}"
    );
    // All checksums are looked at.
    let error = see(&outcome.bytes);
    let source = if plan.is_ipv6() {
        let bytes: [u8; 16] = sent[22..38].try_into().unwrap();
        IpAddr::from(bytes)
    } else {
        let bytes: [u8; 4] = sent[26..30].try_into().unwrap();
        IpAddr::from(bytes)
    };
    assert_eq!(error.source.ip(), origin.speaker(plan), "{what}");
    assert_eq!(error.destination.ip(), source, "{what}");
    let (kind, mtu) = told(plan, why);
    assert_eq!(error.icmp, Some(kind), "{what}");
    let icmp = 14 + if plan.is_ipv6() { 40 } else { 20 };
    let bytes = &outcome.bytes;
    assert_eq!(bytes[icmp + 6..icmp + 8], mtu.to_be_bytes(), "{what}");
    let quoted = &bytes[icmp + 8..];
    assert_eq!(quoted, &sent[14..14 + quoted.len()], "{what}");
    // A socket is found by its header and eight bytes (RFC 792).
    let header = if plan.is_ipv6() { 40 } else { 20 };
    assert!(quoted.len() >= header + 8, "{what}");
}

/// The packet of a kind, and of what shape it can be.
fn sent(
    protocol: u8,
    ends: [SocketAddr; 2],
    opens: bool,
    why: Why,
    shape: Shape,
) -> Option<Vec<u8>> {
    let [from, to] = ends;
    let data = if why == Why::TooBig { MUCH } else { 24 };
    let whole = packet(protocol, from, to, opens, data);
    let packet = match shape {
        Shape::Plain => whole,
        Shape::Options => with_options(&whole),
        // IPv4 lets routers cut them once more.
        Shape::First if protocol != UDP || why == Why::TooBig => return None,
        Shape::First => {
            let [first, _] = fragments(&whole, 9);
            first
        }
    };
    Some(if why == Why::NoHops {
        with_hops(&packet, 1)
    } else {
        packet
    })
}

fn owed(origin: Origin, why: Why, by_wire: bool) {
    for plan in FAMILIES {
        let mut bench = bench(&plan, origin, why);
        for protocol in [TCP, UDP, SCTP] {
            for (shape, port) in [Shape::Plain, Shape::Options, Shape::First]
                .into_iter()
                .zip(4000..)
            {
                let port = port + 10 * u16::from(protocol);
                let ends = ends(&mut bench, &plan, origin, protocol, port);
                let opens = matches!(origin, Client | Pod | Host);
                let Some(sent) = sent(protocol, ends, opens, why, shape) else {
                    continue;
                };
                let what = format!("{origin:?} {why:?} {shape:?} {protocol} {ends:?}");
                if by_wire {
                    // XDP leaves it to tc, not a byte of it changed.
                    let outcome = bench.run(Hook::FromWire, &sent).unwrap();
                    assert_eq!((outcome.action, outcome.drop), (NEXT, None), "{what}");
                    assert_eq!(outcome.bytes, sent, "{what}");
                }
                let outcome = bench.run(origin.hook(), &sent).unwrap();
                is_owed(&outcome, &sent, &plan, origin, why, &what);
            }
        }
    }
}

#[test]
fn the_sender_is_told_about_the_packet_that_it_sent() {
    for origin in Origin::ALL {
        for why in [Why::NoHops, Why::TooBig, Why::NoRoute] {
            // The host's own has all its hops before it.
            if (origin, why) == (Host, Why::NoHops) {
                continue;
            }
            owed(origin, why, false);
        }
    }
}

#[test]
fn the_sender_is_told_as_well_with_xdp_before_tc() {
    for origin in [Client, Answer] {
        for why in [Why::NoHops, Why::TooBig, Why::NoRoute] {
            owed(origin, why, true);
        }
    }
}

/// The first packet to a neighbour that nobody has asked for yet, of whom the kernel says nothing but that.
#[test]
fn a_route_is_as_narrow_before_its_neighbour_is_known() {
    for plan in FAMILIES {
        let mut bench = bench(&plan, Client, Why::NoHops);
        let whole = if plan.is_ipv6() { 128 } else { 32 };
        let (far, via) = (plan.remote_pod, plan.second);
        bench
            .ip(&format!(
                "route add {far}/{whole} via {via} dev net0 mtu {NARROW} onlink\n"
            ))
            .unwrap();
        bench.route_mtu(far, whole, NARROW.into()).unwrap();
        let ends = [plan.outside(4000), plan.node(30080)];
        let sent = sent(UDP, ends, true, Why::TooBig, Shape::Plain).unwrap();
        let outcome = bench.run(Hook::FromNet, &sent).unwrap();
        is_owed(&outcome, &sent, &plan, Client, Why::TooBig, "no neighbour");
        // What fits goes, and the kernel asks for the neighbour.
        let small = udp(ends[0], ends[1], b"small");
        let outcome = bench.run(Hook::FromNet, &small).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
    }
}

/// A way that becomes narrow is told to those who live, a second later at most.
#[test]
fn a_route_that_becomes_narrow_is_told() {
    for plan in FAMILIES {
        let mut bench = bench(&plan, Client, Why::NoHops);
        let ends = [plan.outside(4000), plan.node(30080)];
        let sent = sent(UDP, ends, true, Why::TooBig, Shape::Plain).unwrap();
        assert_eq!(bench.run(Hook::FromNet, &sent).unwrap().drop, None);
        let whole = if plan.is_ipv6() { 128 } else { 32 };
        let (far, via) = (plan.remote_pod, plan.outside);
        bench
            .ip(&format!("route add {far}/{whole} via {via} mtu {NARROW}\n"))
            .unwrap();
        bench.route_mtu(far, whole, NARROW.into()).unwrap();
        let began = Instant::now();
        let outcome = loop {
            let outcome = bench.run(Hook::FromNet, &sent).unwrap();
            if outcome.drop.is_some() {
                break outcome;
            }
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(100));
        };
        is_owed(&outcome, &sent, &plan, Client, Why::TooBig, "narrow now");
    }
}
