//! `weir_host`: what the host sends to Services, where each kind of backend takes it, and what is answered.

use std::net::{IpAddr, SocketAddr};

use proxy_common::{
    address::{TCP, UDP},
    host::{HOST_DEVICE_MAC, HOST_PEER_IPV4, HOST_PEER_IPV6},
};
use weir_tests::packets::{
    Bench, FAMILIES, Hook, NEXT, Outcome, Plan, REDIRECT, Tcp, error_about, ping, see, tcp, udp,
};

/// The address that stands for the host itself.
fn peer(plan: &Plan) -> IpAddr {
    if plan.is_ipv6() {
        HOST_PEER_IPV6.into()
    } else {
        HOST_PEER_IPV4.into()
    }
}

/// The first packet of a flow, or its answer.
fn packet(protocol: u8, from: SocketAddr, to: SocketAddr, answer: bool) -> Vec<u8> {
    match (protocol, answer) {
        (TCP, false) => tcp(from, to, Tcp::Syn, b""),
        (TCP, true) => tcp(from, to, Tcp::SynAck, b""),
        _ => udp(from, to, b"datagram"),
    }
}

/// Puts a packet in that must be redirected; gives its ends and what became of it.
fn redirected(bench: &mut Bench, hook: Hook, packet: &[u8]) -> (SocketAddr, SocketAddr, Outcome) {
    let outcome = bench.run(hook, packet).unwrap();
    assert_eq!((outcome.action, outcome.drop), (REDIRECT, None), "{hook:?}");
    let seen = see(&outcome.bytes);
    (seen.source, seen.destination, outcome)
}

/// Each family and protocol, with a number of its own.
fn cases() -> impl Iterator<Item = (u32, Plan, u8)> {
    let cases = FAMILIES
        .into_iter()
        .flat_map(|plan| [(plan, TCP), (plan, UDP)]);
    (1..)
        .zip(cases)
        .map(|(id, (plan, protocol))| (id, plan, protocol))
}

#[test]
fn a_pod_of_this_node_serves_and_its_answers_come_back_by_the_device() {
    let mut bench = Bench::new().unwrap();
    for (id, plan, protocol) in cases() {
        let (client, vip, backend) = (plan.node(4000), plan.vip(80), plan.pod(8080));
        bench.service(id, vip, protocol, &[backend], 0).unwrap();
        bench.policy(1, 0, 0).unwrap();
        let asked = packet(protocol, client, vip, false);
        let (from, to, outcome) = redirected(&mut bench, Hook::FromHost, &asked);
        assert_eq!((from, to), (client, backend));
        assert_eq!(outcome.bytes[..6], [2, 0, 0, 0, 1, 1], "to the pod");
        let arrived = bench.run(Hook::ToPodFromHost, &outcome.bytes).unwrap();
        assert_eq!(arrived.action, NEXT, "no policy against the own node");
        let answer = packet(protocol, backend, client, true);
        let (from, to, outcome) = redirected(&mut bench, Hook::FromPod, &answer);
        assert_eq!((from, to), (vip, client));
        assert_eq!(outcome.bytes[..6], HOST_DEVICE_MAC, "into weir_host");
    }
}

#[test]
fn backends_on_other_nodes_are_reached_by_the_uplink() {
    let mut bench = Bench::new().unwrap();
    for (id, plan, protocol) in cases() {
        let backends = [plan.remote_pod(8080), plan.outside(9090)];
        for (port, backend) in (80..).zip(backends) {
            let (client, vip) = (plan.node(4000), plan.vip(port));
            let id = id * 10 + u32::from(port);
            bench.service(id, vip, protocol, &[backend], 0).unwrap();
            let asked = packet(protocol, client, vip, false);
            let (from, to, outcome) = redirected(&mut bench, Hook::FromHost, &asked);
            assert_eq!((from.ip(), to), (client.ip(), backend));
            assert_ne!(from, client, "by its port the answer is known to be one");
            assert_eq!(see(&outcome.bytes).hops, 64, "the host is no hop");
            let answer = packet(protocol, backend, from, true);
            let outcome = bench.run(Hook::FromNet, &answer).unwrap();
            assert_eq!(outcome.action, NEXT);
            let seen = see(&outcome.bytes);
            assert_eq!((seen.source, seen.destination), (vip, client));
        }
    }
}

/// The server would answer the node's own address over `lo`.
#[test]
fn a_server_of_the_host_itself_sees_an_address_that_leads_back() {
    let mut bench = Bench::new().unwrap();
    for (id, plan, protocol) in cases() {
        // From the uplink too: addresses that no route leads to the device.
        for (port, hook) in [(80, Hook::FromHost), (81, Hook::ToNet)] {
            let (client, vip, backend) = (plan.node(4000), plan.vip(port), plan.node(8080));
            let id = id * 10 + u32::from(port);
            bench.service(id, vip, protocol, &[backend], 0).unwrap();
            let asked = packet(protocol, client, vip, false);
            let (from, to, outcome) = redirected(&mut bench, hook, &asked);
            assert_eq!((from.ip(), to), (peer(&plan), backend));
            assert_eq!(outcome.bytes[..6], HOST_DEVICE_MAC, "into weir_host");
            let answer = packet(protocol, backend, from, true);
            let (from, to, outcome) = redirected(&mut bench, Hook::FromHost, &answer);
            assert_eq!((from, to), (vip, client));
            assert_eq!(outcome.bytes[..6], HOST_DEVICE_MAC);
            let more = redirected(&mut bench, hook, &asked);
            assert_eq!(
                (more.0.ip(), more.1),
                (peer(&plan), backend),
                "the same way"
            );
        }
    }
}

#[test]
fn an_error_of_a_server_of_the_host_is_one_of_the_service() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.node(4000), plan.vip(53), plan.node(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        let asked = udp(client, vip, b"datagram");
        let (_, _, outcome) = redirected(&mut bench, Hook::FromHost, &asked);
        let error = error_about(plan.node, peer(&plan), &outcome.bytes, false);
        let (from, to, outcome) = redirected(&mut bench, Hook::FromHost, &error);
        assert_eq!((from.ip(), to.ip()), (plan.vip, plan.node));
        assert_eq!(see(&outcome.bytes).quoted, Some((client, vip)));
        assert_eq!(outcome.bytes[..6], HOST_DEVICE_MAC);
    }
}

#[test]
fn one_port_for_two_services_with_one_backend_is_told_apart() {
    let mut bench = Bench::new().unwrap();
    for (id, plan, protocol) in cases() {
        for (base, backend) in [(80, plan.remote_pod(8080)), (90, plan.node(8080))] {
            let client = plan.node(4000);
            let mut seen = Vec::new();
            for port in [base, base + 1] {
                let (vip, id) = (plan.vip(port), id * 100 + u32::from(port));
                bench.service(id, vip, protocol, &[backend], 0).unwrap();
                let asked = packet(protocol, client, vip, false);
                let (from, to, _) = redirected(&mut bench, Hook::FromHost, &asked);
                assert_eq!(to, backend);
                seen.push((vip, from));
            }
            assert_ne!(seen[0].1, seen[1].1);
            for (vip, from) in seen {
                let answer = packet(protocol, backend, from, true);
                let hook = if from.ip() == plan.node {
                    Hook::FromNet
                } else {
                    Hook::FromHost
                };
                let answered = see(&bench.run(hook, &answer).unwrap().bytes);
                assert_eq!((answered.source, answered.destination), (vip, client));
            }
        }
    }
}

#[test]
fn what_nobody_serves_is_refused_at_once() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench.service(id, plan.vip(80), TCP, &[], 0).unwrap();
        bench.service(id + 10, plan.vip(53), UDP, &[], 0).unwrap();
        let client = plan.node(4000);
        for (port, protocol) in [(80, TCP), (53, UDP), (81, TCP), (54, UDP)] {
            let asked = packet(protocol, client, plan.vip(port), false);
            let outcome = bench.run(Hook::FromHost, &asked).unwrap();
            let told = (outcome.action, outcome.drop);
            assert_eq!(told, (REDIRECT, Some("no-backend")), "{port}");
            let seen = see(&outcome.bytes);
            assert_eq!(
                (seen.source.ip(), seen.destination.ip()),
                (plan.vip, plan.node)
            );
            assert_eq!(seen.tcp.is_some_and(|tcp| tcp.rst), protocol == TCP);
            assert_eq!(seen.icmp.is_some(), protocol == UDP);
        }
        let asked = ping(plan.node, plan.vip, 7, false);
        let outcome = bench.run(Hook::FromHost, &asked).unwrap();
        assert!(see(&outcome.bytes).icmp.is_some(), "unreachable");
    }
}

#[test]
fn a_backend_without_a_route_is_a_named_drop_and_groups_are_let_alone() {
    let mut bench = Bench::new().unwrap();
    for (id, plan, protocol) in cases() {
        let nowhere = if plan.is_ipv6() {
            "fd99::1"
        } else {
            "203.0.113.1"
        };
        let backend = SocketAddr::new(nowhere.parse().unwrap(), 8080);
        let (client, vip) = (plan.node(4000), plan.vip(80));
        bench.service(id, vip, protocol, &[backend], 0).unwrap();
        let mut asked = packet(protocol, client, vip, false);
        let outcome = bench.run(Hook::FromHost, &asked).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, Some("no-route")));
        assert_eq!(
            see(&outcome.bytes).quoted,
            Some((client, vip)),
            "it is told"
        );
        asked[0] |= 1;
        let outcome = bench.run(Hook::FromHost, &asked).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, asked));
    }
}

/// A container of the host's own, on a bridge that we know nothing of.
#[test]
fn what_the_host_forwards_to_a_service_is_served_in_the_nodes_name() {
    let mut bench = Bench::new().unwrap();
    for (id, plan, protocol) in cases() {
        let stranger = if plan.is_ipv6() {
            "fd99::7"
        } else {
            "203.0.113.7"
        };
        let client = SocketAddr::new(stranger.parse().unwrap(), 4000);
        for (port, backend) in (80..).zip([plan.pod(8080), plan.node(8080)]) {
            let (vip, id) = (plan.vip(port), id * 10 + u32::from(port));
            bench.service(id, vip, protocol, &[backend], 0).unwrap();
            let asked = packet(protocol, client, vip, false);
            let (from, to, _) = redirected(&mut bench, Hook::FromHostForwarded, &asked);
            assert_eq!(to, backend);
            let (answers, named) = if backend.ip() == plan.node {
                (Hook::FromHost, peer(&plan))
            } else {
                (Hook::FromPod, plan.node)
            };
            assert_eq!(from.ip(), named);
            let answer = packet(protocol, backend, from, true);
            let answered = bench.run(answers, &answer).unwrap();
            let seen = see(&answered.bytes);
            assert_eq!((seen.source, seen.destination), (vip, client));
        }
    }
}
