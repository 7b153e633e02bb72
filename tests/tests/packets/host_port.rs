//! `hostPort`s: on which addresses they serve, what comes before them, and datagrams that come too early.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proxy_common::{
    address::{TCP, UDP},
    frontends::{FLAG_HOST_PORT, FLAG_NODE_PORT},
    node::{ADDRESS_HOST_PORT, ADDRESS_LOCAL},
    policy::cells::{ALLOW_ALL, DENY_ALL},
    policy::words::ROW_ALLOW_ALL,
};
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, SHOT, Tcp, see, tcp, udp};

const PORT: u16 = 8443;
/// A row of policy.
const ROW: u32 = 5;

/// A bench whose node has a second address.
fn bench() -> Bench {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        bench
            .node_address(plan.second, ADDRESS_LOCAL | ADDRESS_HOST_PORT)
            .unwrap();
        bench.node_address(plan.loopback, ADDRESS_LOCAL).unwrap();
    }
    bench
}

fn any(plan: &Plan) -> IpAddr {
    if plan.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// A frontend on an address of the node.
fn serve(bench: &mut Bench, id: u32, at: IpAddr, protocol: u8, backend: SocketAddr, flags: u32) {
    let at = SocketAddr::new(at, PORT);
    bench.service(id, at, protocol, &[backend], flags).unwrap();
}

/// Where a packet to an address ends, if it is translated.
fn asks(bench: &mut Bench, hook: Hook, from: SocketAddr, to: IpAddr) -> Option<SocketAddr> {
    let to = SocketAddr::new(to, PORT);
    let outcome = bench.run(hook, &tcp(from, to, Tcp::Syn, b"")).unwrap();
    let seen = see(&outcome.bytes);
    assert_eq!(
        (outcome.action == REDIRECT, outcome.drop),
        (seen.destination != to, None)
    );
    assert_eq!(seen.source, from, "the client's address is kept");
    (outcome.action == REDIRECT).then_some(seen.destination)
}

#[test]
fn without_host_ip_every_address_serves_but_loopback() {
    let mut bench = bench();
    for (id, plan) in (1..).zip(FAMILIES) {
        let pod = plan.pod(8080);
        serve(&mut bench, id, any(&plan), TCP, pod, FLAG_HOST_PORT);
        for (port, to, expected) in [
            (4000, plan.node, Some(pod)),
            (4001, plan.second, Some(pod)),
            // A neighbour on the link may send such a packet, whatever the routes say.
            (4002, plan.loopback, None),
            (4003, plan.outside, None),
        ] {
            let client = plan.outside(port);
            let found = asks(&mut bench, Hook::FromNet, client, to);
            assert_eq!(found, expected, "{to}");
            if expected.is_some() {
                let answer = tcp(pod, client, Tcp::SynAck, b"");
                let seen = see(&bench.run(Hook::FromPod, &answer).unwrap().bytes);
                let frontend = SocketAddr::new(to, PORT);
                assert_eq!((seen.source, seen.destination), (frontend, client));
            }
        }
    }
}

#[test]
fn a_host_ip_is_the_only_address_that_serves() {
    let mut bench = bench();
    for (id, plan) in (1..).zip(FAMILIES) {
        let client = plan.outside(4000);
        let pods = [plan.pod(8080), plan.neighbour(8081)];
        serve(&mut bench, id, plan.second, TCP, pods[0], FLAG_HOST_PORT);
        serve(
            &mut bench,
            10 + id,
            plan.loopback,
            TCP,
            pods[1],
            FLAG_HOST_PORT,
        );
        for (to, expected) in [
            (plan.node, None),
            (plan.second, Some(pods[0])),
            (plan.loopback, None),
        ] {
            let found = asks(&mut bench, Hook::FromNet, client, to);
            assert_eq!(found, expected, "{to}");
        }
        // An address of the node's own comes before all of them.
        serve(
            &mut bench,
            20 + id,
            any(&plan),
            TCP,
            pods[1],
            FLAG_HOST_PORT,
        );
        for (to, expected) in [(plan.node, pods[1]), (plan.second, pods[0])] {
            let found = asks(&mut bench, Hook::FromNet, plan.outside(4001), to);
            assert_eq!(found, Some(expected), "{to}");
        }
    }
}

#[test]
fn an_address_that_is_not_the_nodes_is_not_taken_over() {
    let mut bench = bench();
    for (id, plan) in (1..).zip(FAMILIES) {
        let away = plan.outside;
        serve(
            &mut bench,
            id,
            away,
            TCP,
            plan.neighbour(8080),
            FLAG_HOST_PORT,
        );
        let packet = tcp(plan.pod(4000), plan.outside(PORT), Tcp::Syn, b"");
        let outcome = bench.run(Hook::FromPod, &packet).unwrap();
        assert_eq!(see(&outcome.bytes).destination, plan.outside(PORT));
    }
}

#[test]
fn a_node_port_comes_first_where_node_ports_are_served() {
    let mut bench = bench();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, pod, service) = (plan.outside(4000), plan.pod(8080), plan.neighbour(80));
        serve(&mut bench, id, any(&plan), TCP, service, FLAG_NODE_PORT);
        serve(&mut bench, 10 + id, plan.node, TCP, pod, FLAG_HOST_PORT);
        serve(&mut bench, 20 + id, plan.second, TCP, pod, FLAG_HOST_PORT);
        for (to, expected) in [(plan.node, service), (plan.second, pod)] {
            let found = asks(&mut bench, Hook::FromNet, client, to);
            assert_eq!(found, Some(expected), "{to}");
        }
    }
}

#[test]
fn pods_of_the_node_and_the_pod_itself_reach_it() {
    let mut bench = bench();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, pod) = (plan.pod(4000), plan.pod(8080));
        serve(
            &mut bench,
            id,
            any(&plan),
            TCP,
            plan.neighbour(80),
            FLAG_HOST_PORT,
        );
        let found = asks(&mut bench, Hook::FromPod, client, plan.node);
        assert_eq!(found, Some(plan.neighbour(80)));
        serve(&mut bench, 10 + id, any(&plan), TCP, pod, FLAG_HOST_PORT);
        let to = plan.second(PORT);
        let outcome = bench
            .run(Hook::FromPod, &tcp(client, to, Tcp::Syn, b""))
            .unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let seen = see(&outcome.bytes);
        let source = plan.second(4000);
        assert_eq!((seen.source, seen.destination), (source, pod), "hairpin");
        let answer = tcp(pod, source, Tcp::SynAck, b"");
        let seen = see(&bench.run(Hook::FromPod, &answer).unwrap().bytes);
        assert_eq!((seen.source, seen.destination), (to, client));
    }
}

#[test]
fn policy_judges_the_pod_behind_it() {
    let mut bench = bench();
    bench.everybody(0).unwrap();
    bench.row(ROW, &[DENY_ALL, ALLOW_ALL]).unwrap();
    bench.policy(1, ROW_ALLOW_ALL, ROW).unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        // The node may not be reached, the pod may.
        bench.peer(plan.neighbour, 1, 0).unwrap();
        let backend = plan.neighbour(8080);
        serve(&mut bench, id, any(&plan), TCP, backend, FLAG_HOST_PORT);
        let found = asks(&mut bench, Hook::FromPod, plan.pod(4000), plan.node);
        assert_eq!(found, Some(backend));
        bench.peer(plan.neighbour, 0, 0).unwrap();
        let syn = tcp(plan.pod(4001), plan.node(PORT), Tcp::Syn, b"");
        let outcome = bench.run(Hook::FromPod, &syn).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (SHOT, Some("policy-egress"))
        );
    }
}

#[test]
fn datagrams_follow_a_host_port_that_comes_and_goes() {
    let mut bench = bench();
    for (id, plan) in (1..).zip(FAMILIES) {
        let at = SocketAddr::new(any(&plan), PORT);
        let cases = [
            (Hook::FromPod, plan.pod(4000)),
            (Hook::FromNet, plan.outside(4000)),
        ];
        let ask = |bench: &mut Bench, expected: Option<SocketAddr>| {
            for (hook, from) in cases {
                let packet = udp(from, plan.node(PORT), b"?");
                let outcome = bench.run(hook, &packet).unwrap();
                let action = expected.map_or(NEXT, |_| REDIRECT);
                assert_eq!((outcome.action, outcome.drop), (action, None), "{hook:?}");
                let to = expected.unwrap_or(plan.node(PORT));
                assert_eq!(see(&outcome.bytes).destination, to, "{hook:?}");
            }
        };
        ask(&mut bench, None);
        let first = plan.neighbour(8080);
        serve(&mut bench, id, any(&plan), UDP, first, FLAG_HOST_PORT);
        ask(&mut bench, Some(first));
        bench.withdraw(at, UDP).unwrap();
        ask(&mut bench, None);
        let second = plan.neighbour(8081);
        serve(&mut bench, 10 + id, any(&plan), UDP, second, FLAG_HOST_PORT);
        ask(&mut bench, Some(second));
    }
}
