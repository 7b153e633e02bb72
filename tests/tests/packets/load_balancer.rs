//! Addresses of load balancers and external IPs, which no interface has: to backends here and elsewhere.

use std::net::SocketAddr;

use proxy_common::{
    address::{TCP, UDP},
    frontends::{FLAG_EXTERNAL_DROP, FLAG_EXTERNAL_IP, FLAG_LOAD_BALANCER},
};
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan, REDIRECT, SHOT, Tcp, see, tcp, udp};

const KINDS: [u32; 2] = [FLAG_LOAD_BALANCER, FLAG_EXTERNAL_IP];

/// A packet of a flow: for TCP what it says, for UDP just data.
fn packet(protocol: u8, from: SocketAddr, to: SocketAddr, what: Tcp) -> Vec<u8> {
    match protocol {
        TCP => tcp(from, to, what, b""),
        _ => udp(from, to, b"data"),
    }
}

/// Puts a packet in at a hook that must send it on; from whom and to whom it then is.
fn sent_on(bench: &mut Bench, hook: Hook, packet: &[u8]) -> (SocketAddr, SocketAddr) {
    let outcome = bench.run(hook, packet).unwrap();
    assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
    let seen = see(&outcome.bytes);
    (seen.source, seen.destination)
}

/// A question and its answer between client and backend, put in at these hooks, for every kind of address and both
/// protocols: the backend sees the client, or else this node, and the client sees the address.
fn answered(ends: fn(&Plan) -> (SocketAddr, SocketAddr), [forth, back]: [Hook; 2], by_node: bool) {
    for (kind, protocol) in KINDS
        .into_iter()
        .flat_map(|kind| [(kind, TCP), (kind, UDP)])
    {
        let mut bench = Bench::new().unwrap();
        for (id, plan) in (1..).zip(FAMILIES) {
            let ((client, backend), frontend) = (ends(&plan), plan.vip(80));
            bench
                .service(id, frontend, protocol, &[backend], kind)
                .unwrap();
            let ask = packet(protocol, client, frontend, Tcp::Syn);
            let (from, to) = sent_on(&mut bench, forth, &ask);
            assert_eq!(to, backend);
            if by_node {
                assert_eq!(from.ip(), plan.node);
            } else {
                assert_eq!(from, client);
            }
            let answer = packet(protocol, backend, from, Tcp::SynAck);
            assert_eq!(sent_on(&mut bench, back, &answer), (frontend, client));
        }
    }
}

#[test]
fn a_backend_here_sees_the_client_and_answers_for_the_address() {
    let ends = |plan: &Plan| (plan.outside(4000), plan.pod(8080));
    answered(ends, [Hook::FromNet, Hook::FromPod], false);
}

#[test]
fn a_backend_elsewhere_answers_by_this_node() {
    let ends = |plan: &Plan| (plan.outside(4000), plan.remote_pod(8080));
    answered(ends, [Hook::FromNet, Hook::FromNet], true);
}

#[test]
fn a_pod_reaches_the_address_without_leaving_the_cluster() {
    let ends = |plan: &Plan| (plan.pod(4000), plan.neighbour(8080));
    answered(ends, [Hook::FromPod, Hook::FromNeighbour], false);
}

#[test]
fn without_backends_clients_are_refused_or_with_backends_elsewhere_only_left_unanswered() {
    for kind in KINDS {
        let mut bench = Bench::new().unwrap();
        for (id, plan) in (1..).step_by(2).zip(FAMILIES) {
            let client = plan.outside(4000);
            bench.service(id, plan.vip(80), TCP, &[], kind).unwrap();
            let outcome = bench
                .run(Hook::FromNet, &tcp(client, plan.vip(80), Tcp::Syn, b""))
                .unwrap();
            let refused = (REDIRECT, Some("no-backend"));
            assert_eq!((outcome.action, outcome.drop), refused);
            assert_eq!(see(&outcome.bytes).source, plan.vip(80));
            // externalTrafficPolicy: Local, none of them here: the load balancer is to ask another node.
            let flags = kind | FLAG_EXTERNAL_DROP;
            bench
                .service(id + 1, plan.vip(81), TCP, &[], flags)
                .unwrap();
            let outcome = bench
                .run(Hook::FromNet, &tcp(client, plan.vip(81), Tcp::Syn, b""))
                .unwrap();
            assert_eq!(outcome.action, SHOT);
        }
    }
}
