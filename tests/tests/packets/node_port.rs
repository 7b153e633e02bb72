//! From outside: `NodePort`s to backends here and elsewhere, and the way of the answers.

use std::net::SocketAddr;

use proxy_common::{
    address::{TCP, UDP},
    conntrack::FLOW_SOURCE_TRANSLATED,
    frontends::FLAG_NODE_PORT,
    node::NodeConfig,
};
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, SHOT, Tcp, see, tcp, udp};

fn node_port(bench: &mut Bench, plan: &Plan, id: u32, protocol: u8, backend: SocketAddr) {
    let any = if plan.is_ipv6() {
        "[::]:30080"
    } else {
        "0.0.0.0:30080"
    };
    let at = any.parse().unwrap();
    bench
        .service(id, at, protocol, &[backend], FLAG_NODE_PORT)
        .unwrap();
}

#[test]
fn a_backend_here_sees_the_client_and_answers_for_the_frontend() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, frontend, backend) = (plan.outside(4000), plan.node(30080), plan.pod(8080));
        node_port(&mut bench, &plan, id, TCP, backend);
        let outcome = bench
            .run(Hook::FromNet, &tcp(client, frontend, Tcp::Syn, b""))
            .unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let seen = see(&outcome.bytes);
        assert_eq!((seen.source, seen.destination), (client, backend));
        let choice = bench.flow(client, frontend, TCP).unwrap().unwrap();
        assert_eq!(choice.target(), (client, backend));
        let entry = bench.flow(backend, client, TCP).unwrap().unwrap();
        assert_eq!((entry.slot, entry.facts.endpoint), (choice.slot, [0, 1]));
        assert_eq!(entry.target(), (frontend, client));

        let answer = tcp(backend, client, Tcp::SynAck, b"");
        let outcome = bench.run(Hook::FromPod, &answer).unwrap();
        assert_eq!(
            outcome.action, REDIRECT,
            "past the stack, which would see a forgery"
        );
        let seen = see(&outcome.bytes);
        assert_eq!(
            (seen.source, seen.destination, seen.hops),
            (frontend, client, 63)
        );
    }
}

#[test]
fn a_backend_elsewhere_answers_to_this_node() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        for (offset, protocol) in [(0, TCP), (10, UDP)] {
            let (client, frontend, backend) =
                (plan.outside(4000), plan.node(30080), plan.remote_pod(8080));
            node_port(&mut bench, &plan, id + offset, protocol, backend);
            let packet = |from, to, what| match protocol {
                TCP => tcp(from, to, what, b""),
                _ => udp(from, to, b"data"),
            };
            let outcome = bench
                .run(Hook::FromNet, &packet(client, frontend, Tcp::Syn))
                .unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
            let seen = see(&outcome.bytes);
            assert_eq!((seen.source.ip(), seen.destination), (plan.node, backend));
            let ours = seen.source;
            assert!((20000..21000).contains(&ours.port()), "{ours}");
            let back = bench.flow(backend, ours, protocol).unwrap().unwrap();
            assert_eq!(back.target(), (frontend, client));
            assert!(back.flags() & FLOW_SOURCE_TRANSLATED != 0);

            let outcome = bench
                .run(Hook::FromNet, &packet(backend, ours, Tcp::SynAck))
                .unwrap();
            assert_eq!(outcome.action, REDIRECT);
            let seen = see(&outcome.bytes);
            assert_eq!((seen.source, seen.destination), (frontend, client));
            let again = bench
                .run(Hook::FromNet, &packet(client, frontend, Tcp::Ack))
                .unwrap();
            assert_eq!(see(&again.bytes).source, ours, "the flow keeps its port");
        }
    }
}

#[test]
fn ports_are_not_shared_and_run_out() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = Bench::new().unwrap();
        let mut configs = bench.array::<NodeConfig>("NODE_CONFIG").unwrap();
        let config = configs.get(&0, 0).unwrap();
        let narrow = NodeConfig {
            source_port_max: 20003,
            ..config
        };
        configs.set(0, narrow, 0).unwrap();
        node_port(&mut bench, &plan, id, TCP, plan.remote_pod(8080));
        let mut ports = std::collections::BTreeSet::new();
        let mut refused = 0;
        for port in 4000..4040 {
            let syn = tcp(plan.outside(port), plan.node(30080), Tcp::Syn, b"");
            let outcome = bench.run(Hook::FromNet, &syn).unwrap();
            if outcome.action == REDIRECT {
                assert!(
                    ports.insert(see(&outcome.bytes).source.port()),
                    "a port for two"
                );
            } else {
                assert_eq!(
                    (outcome.action, outcome.drop),
                    (SHOT, Some("no-source-port"))
                );
                refused += 1;
            }
        }
        assert_eq!((ports.len(), refused), (4, 36));
    }
}

#[test]
fn a_host_network_backend_is_the_stacks_and_its_answers_are_turned_round() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, frontend, backend) = (plan.outside(4000), plan.node(30080), plan.node(8080));
        node_port(&mut bench, &plan, id, TCP, backend);
        let outcome = bench
            .run(Hook::FromNet, &tcp(client, frontend, Tcp::Syn, b""))
            .unwrap();
        assert_eq!(outcome.action, NEXT);
        assert_eq!(see(&outcome.bytes).destination, backend);
        let answer = tcp(backend, client, Tcp::SynAck, b"");
        let outcome = bench.run(Hook::ToNet, &answer).unwrap();
        assert_eq!(outcome.action, NEXT);
        assert_eq!(see(&outcome.bytes).source, frontend);
    }
}

#[test]
fn in_stack_mode_answers_are_turned_round_on_the_uplink() {
    let mut bench = Bench::new().unwrap();
    bench.configure(0).unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, frontend, backend) = (plan.outside(4000), plan.node(30080), plan.pod(8080));
        node_port(&mut bench, &plan, id, TCP, backend);
        let syn = tcp(client, frontend, Tcp::Syn, b"");
        let outcome = bench.run(Hook::FromNet, &syn).unwrap();
        assert_eq!(
            (outcome.action, see(&outcome.bytes).destination),
            (NEXT, backend)
        );
        let arrived = bench.run(Hook::ToPod, &outcome.bytes).unwrap();
        assert_eq!((arrived.action, &arrived.bytes), (NEXT, &outcome.bytes));
        let answer = tcp(backend, client, Tcp::SynAck, b"");
        let left = bench.run(Hook::FromPod, &answer).unwrap();
        assert_eq!((left.action, &left.bytes), (NEXT, &answer));
        let outcome = bench.run(Hook::ToNetForwarded, &answer).unwrap();
        assert_eq!(
            (outcome.action, see(&outcome.bytes).source),
            (NEXT, frontend)
        );
    }
}

#[test]
fn a_pod_uses_node_ports_of_its_node_without_leaving_it() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        node_port(&mut bench, &plan, id, UDP, plan.neighbour(5353));
        let packet = udp(plan.pod(4000), plan.node(30080), b"?");
        let outcome = bench.run(Hook::FromPod, &packet).unwrap();
        assert_eq!(outcome.action, REDIRECT);
        assert_eq!(see(&outcome.bytes).destination, plan.neighbour(5353));
    }
}

#[test]
fn other_traffic_of_the_host_is_let_alone() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        node_port(&mut bench, &plan, id, TCP, plan.pod(8080));
        for to in [plan.node(22), plan.node(8080)] {
            let packet = tcp(plan.outside(4000), to, Tcp::Syn, b"");
            let outcome = bench.run(Hook::FromNet, &packet).unwrap();
            assert_eq!((outcome.action, outcome.bytes), (NEXT, packet));
        }
    }
}
