//! Services on the way out of a pod: translation, its reverse, hairpin, clashes, removed backends.

use std::net::SocketAddr;

use proxy_common::{
    address::{TCP, UDP},
    backends::SlotKey,
    conntrack::{FLOW_HAIRPIN, FLOW_REPLIED},
};
use weir_tests::packets::{Bench, FAMILIES, Hook, REDIRECT, Tcp, see, tcp, udp};

#[test]
fn one_flow_turns_questions_and_answers() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(80), plan.neighbour(8080));
        bench.service(id, vip, TCP, &[backend], 0).unwrap();
        let outcome = bench
            .run(Hook::FromPod, &tcp(client, vip, Tcp::Syn, b""))
            .unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let seen = see(&outcome.bytes);
        assert_eq!((seen.source, seen.destination), (client, backend));
        let forth = bench.flow(client, vip, TCP).unwrap().unwrap();
        assert_eq!((forth.flags(), forth.facts.endpoint), (0, [1, 2]));
        assert_eq!(forth.target(), (client, backend));
        assert_eq!(
            (forth.facts.service, forth.facts.backend),
            (id, id * 1000 + 1)
        );
        assert!(bench.flow(client, backend, TCP).unwrap().is_none());
        let back = bench.flow(backend, client, TCP).unwrap().unwrap();
        assert_eq!((back.slot, back.direction), (forth.slot, 1));
        assert_eq!(back.target(), (vip, client));

        answered(&mut bench, (client, vip, backend));
        let flow = bench.flow(client, vip, TCP).unwrap().unwrap();
        assert!(flow.flags() & FLOW_REPLIED != 0, "{flow:?}");
    }
}

/// The backend's answer comes from the Service, and what the client says next reaches the backend.
fn answered(bench: &mut Bench, (client, vip, backend): (SocketAddr, SocketAddr, SocketAddr)) {
    let answer = tcp(backend, client, Tcp::SynAck, b"");
    let outcome = bench.run(Hook::FromNeighbour, &answer).unwrap();
    assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
    let seen = see(&outcome.bytes);
    assert_eq!((seen.source, seen.destination), (vip, client));
    let data = tcp(client, vip, Tcp::Ack, b"data of the client");
    let seen = see(&bench.run(Hook::FromPod, &data).unwrap().bytes);
    assert_eq!((seen.source, seen.destination), (client, backend));
}

#[test]
fn a_client_may_use_its_port_again_for_another_service() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).step_by(2).zip(FAMILIES) {
        let (client, backend) = (plan.pod(4000), plan.neighbour(8080));
        for (id, vip) in [(id, plan.vip(80)), (id + 1, plan.vip(81))] {
            bench.service(id, vip, TCP, &[backend], 0).unwrap();
            let open = tcp(client, vip, Tcp::Syn, b"");
            let outcome = bench.run(Hook::FromPod, &open).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None), "{vip}");
            answered(&mut bench, (client, vip, backend));
            bench
                .run(Hook::FromPod, &tcp(client, vip, Tcp::Rst, b""))
                .unwrap();
        }
    }
}

#[test]
fn a_backend_elsewhere_answers_in_the_services_name() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(80), plan.remote_pod(8080));
        bench.service(id, vip, TCP, &[backend], 0).unwrap();
        bench
            .run(Hook::FromPod, &tcp(client, vip, Tcp::Syn, b""))
            .unwrap();
        let back = bench.flow(backend, client, TCP).unwrap().unwrap();
        assert_eq!((back.direction, back.facts.endpoint), (1, [1, 0]));
        assert_eq!(back.target(), (vip, client));
        let answer = tcp(backend, client, Tcp::SynAck, b"");
        let seen = see(&bench.run(Hook::FromNet, &answer).unwrap().bytes);
        assert_eq!((seen.source, seen.destination), (vip, client));
        let flow = bench.flow(client, vip, TCP).unwrap().unwrap();
        assert!(flow.flags() & FLOW_REPLIED != 0, "{flow:?}");
    }
}

#[test]
fn in_stack_mode_the_answer_is_turned_round_on_the_way_into_the_pod() {
    let mut bench = Bench::new().unwrap();
    bench.configure(0).unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(53), plan.remote_pod(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        let outcome = bench
            .run(Hook::FromPod, &udp(client, vip, b"question"))
            .unwrap();
        assert_eq!(see(&outcome.bytes).destination, backend);
        let outcome = bench
            .run(Hook::ToPod, &udp(backend, client, b"answer"))
            .unwrap();
        assert_eq!(see(&outcome.bytes).source, vip);
        let again = bench.run(Hook::ToPod, &outcome.bytes).unwrap();
        assert_eq!(
            (again.bytes, again.drop),
            (outcome.bytes, None),
            "twice is as once"
        );
    }
}

#[test]
fn a_pod_reaches_itself_through_a_service() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, server) = (plan.pod(4000), plan.vip(80), plan.pod(8080));
        bench.service(id, vip, TCP, &[server], 0).unwrap();
        let outcome = bench
            .run(Hook::FromPod, &tcp(client, vip, Tcp::Syn, b""))
            .unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let seen = see(&outcome.bytes);
        let mut shown = vip;
        shown.set_port(client.port());
        assert_eq!((seen.source, seen.destination), (shown, server));
        let answer = tcp(server, shown, Tcp::SynAck, b"");
        let outcome = bench.run(Hook::FromPod, &answer).unwrap();
        assert_eq!(outcome.action, REDIRECT);
        let seen = see(&outcome.bytes);
        assert_eq!((seen.source, seen.destination), (vip, client));
        let entry = bench.flow(client, vip, TCP).unwrap().unwrap();
        assert!(entry.flags() & FLOW_HAIRPIN != 0 && entry.flags() & FLOW_REPLIED != 0);
    }
}

#[test]
fn policy_does_not_stand_between_a_pod_and_itself() {
    let mut bench = Bench::new().unwrap();
    bench.policy(1, 0, 0).unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let vip = plan.vip(80);
        bench.service(id, vip, TCP, &[plan.pod(8080)], 0).unwrap();
        let outcome = bench
            .run(Hook::FromPod, &tcp(plan.pod(4000), vip, Tcp::Syn, b""))
            .unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
    }
}

#[test]
fn datagrams_leave_a_removed_backend_and_connections_stay() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (old, new) = (plan.neighbour(8080), plan.remote_pod(8080));
        for (offset, protocol) in [(0, TCP), (10, UDP)] {
            let (id, vip) = (id + offset, plan.vip(80));
            let packet = |what| match protocol {
                TCP => tcp(plan.pod(4000), vip, what, b""),
                _ => udp(plan.pod(4000), vip, b"?"),
            };
            bench.service(id, vip, protocol, &[old], 0).unwrap();
            bench.run(Hook::FromPod, &packet(Tcp::Syn)).unwrap();
            bench.remove_member(id, 0).unwrap();
            bench.service(id + 20, vip, protocol, &[new], 0).unwrap();
            let outcome = bench.run(Hook::FromPod, &packet(Tcp::Ack)).unwrap();
            let expected = if protocol == TCP { old } else { new };
            assert_eq!(see(&outcome.bytes).destination, expected);
        }
    }
}

#[test]
fn affinity_keeps_a_client_at_its_backend() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let backends = [
            plan.neighbour(1),
            plan.neighbour(2),
            plan.neighbour(3),
            plan.remote_pod(4),
        ];
        bench.service(id, plan.vip(80), TCP, &backends, 0).unwrap();
        bench.stick(plan.vip(80), TCP, 100).unwrap();
        let mut chosen = std::collections::BTreeSet::new();
        for port in 4000..4032 {
            let syn = tcp(plan.pod(port), plan.vip(80), Tcp::Syn, b"");
            chosen.insert(see(&bench.run(Hook::FromPod, &syn).unwrap().bytes).destination);
        }
        assert_eq!(chosen.len(), 1, "{chosen:?}");
    }
}

#[test]
fn affinity_leads_to_no_backend_that_terminates_but_flows_stay_with_it() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (old, new) = (plan.neighbour(1), plan.neighbour(2));
        for (id, protocol) in [(id, TCP), (id + 10, UDP)] {
            let vip = plan.vip(80);
            let packet = |port| match protocol {
                TCP => tcp(plan.pod(port), vip, Tcp::Syn, b""),
                _ => udp(plan.pod(port), vip, b"?"),
            };
            bench.service(id, vip, protocol, &[old], 0).unwrap();
            bench.stick(vip, protocol, 100).unwrap();
            let begun = bench.run(Hook::FromPod, &packet(4000)).unwrap();
            assert_eq!(see(&begun.bytes).destination, old);
            // The new one takes the slot of the old one.
            bench.service(id, vip, protocol, &[old, new], 0).unwrap();
            bench.replace_slot(id, 0, 1).unwrap();
            bench.stick(vip, protocol, 100).unwrap();
            bench.linger(id, 0).unwrap();
            let goes_on = bench.run(Hook::FromPod, &packet(4000)).unwrap();
            assert_eq!(see(&goes_on.bytes).destination, old, "{protocol}");
            let begins = bench.run(Hook::FromPod, &packet(4001)).unwrap();
            assert_eq!(see(&begins.bytes).destination, new, "{protocol}");
        }
    }
}

#[test]
fn backends_share_the_connections() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let backends = [plan.neighbour(1), plan.neighbour(2), plan.remote_pod(3)];
        bench.service(id, plan.vip(80), TCP, &backends, 0).unwrap();
        let mut chosen = std::collections::BTreeSet::new();
        for port in 4000..4064 {
            let syn = tcp(plan.pod(port), plan.vip(80), Tcp::Syn, b"");
            chosen.insert(see(&bench.run(Hook::FromPod, &syn).unwrap().bytes).destination);
        }
        assert_eq!(chosen.len(), 3, "{chosen:?}");
    }
}

/// Set and slots are not written in one step.
#[test]
fn a_set_that_has_shrunk_since_its_size_was_read_leads_to_its_first_backend() {
    for (id, plan) in (1..).zip(FAMILIES) {
        for protocol in [TCP, UDP] {
            let mut bench = Bench::new().unwrap();
            let backends = [1, 2, 3, 4, 5, 6, 7].map(|port| plan.neighbour(port));
            bench
                .service(id, plan.vip(80), protocol, &backends, 0)
                .unwrap();
            let mut slots = bench.hash::<SlotKey, u32>("BACKEND_SLOTS").unwrap();
            for index in 1..7 {
                slots.remove(&SlotKey { set: id, index }).unwrap();
            }
            for port in 4000..4032 {
                let packet = match protocol {
                    TCP => tcp(plan.pod(port), plan.vip(80), Tcp::Syn, b""),
                    _ => udp(plan.pod(port), plan.vip(80), b"?"),
                };
                let outcome = bench.run(Hook::FromPod, &packet).unwrap();
                assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
                assert_eq!(see(&outcome.bytes).destination, backends[0]);
            }
        }
    }
}
