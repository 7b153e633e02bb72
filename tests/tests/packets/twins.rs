//! The two entries of a flow to a backend on another node, when one of them is lost: the other one makes it good.

use std::net::SocketAddr;

use proxy_common::{address::TCP, conntrack::FLOW_REPLIED};
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan, REDIRECT, Tcp, see, tcp};

/// Who takes part: client, Service, backend.
fn ends(plan: &Plan) -> [SocketAddr; 3] {
    [plan.pod(4000), plan.vip(80), plan.remote_pod(8080)]
}

/// Puts a packet in, which must be sent on; from whom and to whom it then is.
fn sent(
    bench: &mut Bench,
    hook: Hook,
    from: SocketAddr,
    to: SocketAddr,
    what: Tcp,
) -> (SocketAddr, SocketAddr) {
    let outcome = bench.run(hook, &tcp(from, to, what, b"")).unwrap();
    assert_eq!((outcome.action, outcome.drop), (REDIRECT, None), "{what:?}");
    let seen = see(&outcome.bytes);
    (seen.source, seen.destination)
}

/// An established connection of the plan's pod through a Service.
fn established(id: u32, plan: &Plan) -> Bench {
    let mut bench = Bench::new().unwrap();
    let [client, vip, backend] = ends(plan);
    bench.service(id, vip, TCP, &[backend], 0).unwrap();
    converse(&mut bench, plan);
    for remote in [vip, backend] {
        let entry = bench.flow(1, client, remote, TCP).unwrap().unwrap();
        assert!(entry.state.flags & FLOW_REPLIED != 0, "{entry:?}");
    }
    bench
}

/// Opens the connection; both directions must be translated.
fn converse(bench: &mut Bench, plan: &Plan) {
    asks(bench, plan, Tcp::Syn);
    answers(bench, plan, Tcp::SynAck);
    asks(bench, plan, Tcp::Ack);
}

/// The client sends: it must go to the backend.
fn asks(bench: &mut Bench, plan: &Plan, what: Tcp) {
    let [client, vip, backend] = ends(plan);
    let there = sent(bench, Hook::FromPod, client, vip, what);
    assert_eq!(there, (client, backend));
}

/// The backend sends: it must come from the Service.
fn answers(bench: &mut Bench, plan: &Plan, what: Tcp) {
    let [client, vip, backend] = ends(plan);
    let here = sent(bench, Hook::FromNet, backend, client, what);
    assert_eq!(here, (vip, client));
}

#[test]
fn the_clients_next_packet_makes_the_answers_entry_anew() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = established(id, &plan);
        let [client, vip, backend] = ends(&plan);
        let lost = bench.flow(1, client, backend, TCP).unwrap().unwrap();
        bench.lose(1, [client, backend], TCP).unwrap();
        // Entries are looked after once a second.
        bench.age(1, [client, vip], TCP).unwrap();
        asks(&mut bench, &plan, Tcp::Ack);
        let made = bench.flow(1, client, backend, TCP).unwrap().unwrap();
        assert_eq!((made.rewrite, made.new), (lost.rewrite, false));
        assert_eq!(made.state.flags, lost.state.flags);
        answers(&mut bench, &plan, Tcp::Ack);
    }
}

#[test]
fn an_answer_makes_the_clients_entry_anew_so_that_it_keeps_its_backend() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = established(id, &plan);
        let [client, vip, backend] = ends(&plan);
        bench.lose(1, [client, vip], TCP).unwrap();
        bench.age(1, [client, backend], TCP).unwrap();
        answers(&mut bench, &plan, Tcp::Ack);
        let made = bench.flow(1, client, vip, TCP).unwrap().unwrap();
        assert_eq!(made.rewrite, (client, backend));
        asks(&mut bench, &plan, Tcp::Ack);
    }
}

#[test]
fn a_connection_on_the_ports_of_one_that_left_an_entry_behind_is_no_clash() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = established(id, &plan);
        let [client, vip, _] = ends(&plan);
        bench.lose(1, [client, vip], TCP).unwrap();
        converse(&mut bench, &plan);
    }
}
