//! What comes from outside for a backend on another node, relayed to it as it is.

use std::net::{IpAddr, SocketAddr};

use proxy_common::{
    address::{SCTP, TCP, UDP},
    conntrack::{FLOW_DIRECT, FLOW_RELAYED, FLOW_SOURCE_TRANSLATED},
    frontends::{FLAG_DIRECT, FLAG_NODE_PORT, FLAG_RELAYED},
    node::NODE_FORWARD_BPF,
    tunnel::{TUNNEL_ENCRYPTED, TUNNEL_MAC, TUNNEL_NODE, TUNNEL_SENDER_MAC},
};
use weir_tests::packets::{
    Bench, Chunk, FAMILIES, Hook, NEXT, Plan, REDIRECT, Tcp, sctp, see, tcp, udp,
};

/// What has room in the tunnel.
pub(super) const ROOM: u32 = 1450;
/// Where the backend's node ends the tunnel.
pub(super) const ENDS: [&str; 2] = ["192.0.2.77", "fd00:3::77"];

/// What is so, and what makes it so.
type Case<'a> = (&'a str, &'a dyn Fn(&mut Bench));

fn frontend(plan: &Plan) -> SocketAddr {
    let any = if plan.is_ipv6() {
        "[::]:30080"
    } else {
        "0.0.0.0:30080"
    };
    any.parse().unwrap()
}

/// A `NodePort` of a backend on another node, behind a tunnel that ends at `end`.
pub(super) fn relaying(plan: &Plan, protocol: u8, flags: u32, end: &str) -> Bench {
    let mut bench = Bench::new().unwrap();
    bench.relay(ROOM).unwrap();
    let bits = if plan.is_ipv6() { 64 } else { 24 };
    bench
        .behind(plan.remote_pod, bits, end.parse().unwrap(), 0)
        .unwrap();
    let backends = [plan.remote_pod(8080)];
    let flags = FLAG_NODE_PORT | flags;
    bench
        .service(1, frontend(plan), protocol, &backends, flags)
        .unwrap();
    bench
}

pub(super) fn first(protocol: u8, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    match protocol {
        TCP => tcp(from, to, Tcp::Syn, b""),
        UDP => udp(from, to, b"?"),
        _ => sctp(from, to, Chunk::Init, 0),
    }
}

#[test]
fn it_goes_as_it_is_and_its_flow_says_so() {
    for plan in FAMILIES {
        for end in ENDS {
            for protocol in [TCP, UDP, SCTP] {
                for (more, marks) in [
                    (FLAG_RELAYED, FLOW_RELAYED),
                    (FLAG_RELAYED | FLAG_DIRECT, FLOW_RELAYED | FLOW_DIRECT),
                ] {
                    let mut bench = relaying(&plan, protocol, more, end);
                    let (client, to) = (plan.outside(4000), plan.node(30080));
                    // The second time by its flow.
                    for _ in 0..2 {
                        let outcome = bench
                            .run(Hook::FromNet, &first(protocol, client, to))
                            .unwrap();
                        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
                        let seen = see(&outcome.bytes);
                        assert_eq!((seen.source, seen.destination, seen.hops), (client, to, 63));
                        let ends = [TUNNEL_MAC, TUNNEL_SENDER_MAC].concat();
                        assert_eq!(outcome.bytes[..12], ends);
                    }
                    let flow = bench.flow(client, to, protocol).unwrap().unwrap();
                    assert_eq!((flow.target(), flow.facts.endpoint), ((client, to), [0, 0]));
                    assert_eq!(flow.flags() & (FLOW_RELAYED | FLOW_DIRECT), marks);
                    let back = bench.flow(to, client, protocol).unwrap().unwrap();
                    assert_eq!((back.slot, back.target()), (flow.slot, (to, client)));
                }
            }
        }
    }
}

/// Of a connection that another node had before.
#[test]
fn a_segment_in_the_middle_goes_on_but_to_no_other_frontend() {
    for plan in FAMILIES {
        for (more, action) in [(FLAG_RELAYED, REDIRECT), (0, NEXT)] {
            let mut bench = relaying(&plan, TCP, more, ENDS[0]);
            for (port, kind) in [(4000, Tcp::Ack), (4001, Tcp::Fin), (4002, Tcp::Rst)] {
                let segment = tcp(plan.outside(port), plan.node(30080), kind, b"");
                let outcome = bench.run(Hook::FromNet, &segment).unwrap();
                assert_eq!((outcome.action, outcome.drop), (action, None), "{kind:?}");
            }
            // A port that nobody serves is the host's.
            let stray = tcp(plan.outside(4000), plan.node(30081), Tcp::Ack, b"");
            assert_eq!(bench.run(Hook::FromNet, &stray).unwrap().action, NEXT);
        }
    }
}

#[test]
fn who_may_not_be_relayed_is_served_in_the_nodes_name() {
    for plan in FAMILIES {
        let (client, to) = (plan.outside(4000), plan.node(30080));
        let syn = tcp(client, to, Tcp::Syn, b"");
        let host = if plan.is_ipv6() { 128 } else { 32 };
        let range = if plan.is_ipv6() { 64 } else { 24 };
        let end: IpAddr = ENDS[0].parse().unwrap();
        let cases: [Case<'_>; 3] = [
            ("a client that is a node", &|bench| {
                bench.behind(plan.outside, host, end, TUNNEL_NODE).unwrap();
            }),
            ("a backend behind encryption", &|bench| {
                bench
                    .behind(plan.remote_pod, range, end, TUNNEL_ENCRYPTED)
                    .unwrap();
            }),
            ("a node that relays nothing", &|bench| {
                bench.set_flags(NODE_FORWARD_BPF).unwrap();
            }),
        ];
        for (what, change) in cases {
            let mut bench = relaying(&plan, TCP, FLAG_RELAYED, ENDS[0]);
            change(&mut bench);
            let outcome = bench.run(Hook::FromNet, &syn).unwrap();
            let seen = see(&outcome.bytes);
            assert_eq!(outcome.action, REDIRECT, "{what}");
            assert_eq!(seen.destination, plan.remote_pod(8080), "{what}");
            let flow = bench.flow(client, to, TCP).unwrap().unwrap();
            let marks = flow.flags() & (FLOW_RELAYED | FLOW_SOURCE_TRANSLATED);
            assert_eq!(marks, FLOW_SOURCE_TRANSLATED, "{what}");
        }
    }
}

#[test]
fn a_client_is_told_what_does_not_pass() {
    for plan in FAMILIES {
        let mut bench = relaying(&plan, UDP, FLAG_RELAYED, ENDS[0]);
        let (client, to) = (plan.outside(4000), plan.node(30080));
        let headers = if plan.is_ipv6() { 48 } else { 28 };
        for (length, drop) in [(ROOM, None), (ROOM + 1, Some("too-big"))] {
            let payload = vec![0; (length - headers) as usize];
            let outcome = bench
                .run(Hook::FromNet, &udp(client, to, &payload))
                .unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, drop));
            // Who is told gets it from the node.
            let from = if drop.is_some() {
                plan.node
            } else {
                plan.outside
            };
            assert_eq!(see(&outcome.bytes).source.ip(), from);
        }
        let mut last = udp(client, to, b"?");
        last[14 + if plan.is_ipv6() { 7 } else { 8 }] = 1;
        if !plan.is_ipv6() {
            // The sum of the header, with 63 hops less.
            let sum = u16::from_be_bytes([last[24], last[25]]);
            let (sum, carry) = sum.overflowing_add(63 << 8);
            last[24..26].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
        }
        let outcome = bench.run(Hook::FromNet, &last).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (REDIRECT, Some("hop-limit"))
        );
    }
}
