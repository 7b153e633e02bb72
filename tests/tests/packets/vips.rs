//! Addresses of Services, whatever the port: what is refused, what is dropped, who answers a ping.

use std::net::IpAddr;

use proxy_common::{
    address::{TCP, UDP},
    frontends::{FLAG_EXTERNAL_IP, FLAG_LOAD_BALANCER},
    node::{NODE_ANSWER_PING, NODE_FORWARD_BPF},
};
use weir_tests::packets::{
    Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, SHOT, Tcp, fragments, ping, see, tcp, udp,
};

/// A cluster IP that no Service has.
fn unallocated(plan: &Plan) -> IpAddr {
    let text = if plan.is_ipv6() {
        "fd00:96::77"
    } else {
        "10.96.0.77"
    };
    text.parse().unwrap()
}

#[test]
fn a_port_that_a_service_has_not_is_refused_and_an_address_that_none_has_dropped() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).step_by(10).zip(FAMILIES) {
        for (id, protocol) in (id..).zip([TCP, UDP]) {
            let backend = plan.pod(8080);
            bench
                .service(id, plan.vip(80), protocol, &[backend], 0)
                .unwrap();
        }
        for (hook, client) in [
            (Hook::FromHost, plan.node(4000)),
            (Hook::FromHostForwarded, plan.pod(4000)),
            (Hook::FromHostForwarded, plan.outside(4000)),
        ] {
            let nobody = std::net::SocketAddr::new(unallocated(&plan), 80);
            for (to, expected) in [
                (plan.vip(81), (REDIRECT, Some("no-backend"))),
                (nobody, (SHOT, Some("no-service"))),
            ] {
                for packet in [tcp(client, to, Tcp::Syn, b""), udp(client, to, b"data")] {
                    let outcome = bench.run(hook, &packet).unwrap();
                    let found = (outcome.action, outcome.drop);
                    assert_eq!(found, expected, "{hook:?} {client} {to}");
                }
            }
        }
    }
}

#[test]
fn other_ports_of_load_balancers_and_external_addresses_are_the_hosts() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).step_by(10).zip(FAMILIES) {
        for (id, port, kind) in [(id, 80, FLAG_LOAD_BALANCER), (id + 1, 81, FLAG_EXTERNAL_IP)] {
            let backend = plan.pod(8080);
            bench
                .service(id, plan.vip(port), TCP, &[backend], kind)
                .unwrap();
        }
        let (from, to) = (plan.outside(4000), plan.vip(82));
        for packet in [tcp(from, to, Tcp::Syn, b""), udp(from, to, b"data")] {
            let outcome = bench.run(Hook::FromNet, &packet).unwrap();
            assert_eq!((outcome.action, outcome.drop), (NEXT, None));
        }
    }
}

#[test]
fn a_ping_is_answered_where_somebody_serves_and_only_if_that_is_wanted() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let id = if plan.is_ipv6() { 1 } else { 2 };
        let backend = plan.pod(8080);
        bench.service(id, plan.vip(80), TCP, &[backend], 0).unwrap();
    }
    let asked = |plan: &Plan| {
        [
            (Hook::FromHost, plan.node),
            (Hook::FromHostForwarded, plan.pod),
            (Hook::FromPod, plan.pod),
            (Hook::FromNet, plan.outside),
        ]
    };
    bench
        .configure(NODE_FORWARD_BPF | NODE_ANSWER_PING)
        .unwrap();
    for plan in FAMILIES {
        let reply = if plan.is_ipv6() { (129, 0) } else { (0, 0) };
        for (hook, client) in asked(&plan) {
            let request = ping(client, plan.vip, 7, false);
            let outcome = bench.run(hook, &request).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None), "{hook:?}");
            assert_eq!(outcome.bytes[..6], request[6..12], "back to the sender");
            let seen = see(&outcome.bytes);
            assert_eq!(
                (seen.source.ip(), seen.destination.ip()),
                (plan.vip, client)
            );
            assert_eq!((seen.icmp, seen.hops), (Some(reply), 64));
            // Identifier, number and words come back.
            assert_eq!(
                outcome.bytes[outcome.bytes.len() - 8..],
                request[request.len() - 8..]
            );
        }
        // Nobody serves there.
        let request = ping(plan.node, unallocated(&plan), 7, false);
        let outcome = bench.run(Hook::FromHost, &request).unwrap();
        assert_eq!((outcome.action, outcome.drop), (SHOT, Some("no-service")));
        // What comes in pieces would have to be put together first.
        let [first, _] = fragments(&ping(plan.outside, plan.vip, 7, false), 9);
        let outcome = bench.run(Hook::FromNet, &first).unwrap();
        assert_eq!(outcome.action, NEXT);
    }
    bench.configure(NODE_FORWARD_BPF).unwrap();
    for plan in FAMILIES {
        let request = ping(plan.outside, plan.vip, 8, false);
        assert_eq!(bench.run(Hook::FromNet, &request).unwrap().action, NEXT);
        let request = ping(plan.node, plan.vip, 8, false);
        let outcome = bench.run(Hook::FromHost, &request).unwrap();
        assert_eq!(outcome.drop, Some("no-backend"));
    }
}
