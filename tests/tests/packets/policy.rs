//! Verdicts: rows, cells, lists, epochs, the own node, corrupt words.

use proxy_common::{
    address::{ICMP, ICMPV6, TCP, UDP},
    policy::{
        cells::{ALLOW_ALL, DENY_ALL},
        intervals::Interval,
        peers::PEER_POD,
        words::ROW_ALLOW_ALL,
    },
};
use weir_tests::packets::{
    Bench, FAMILIES, Hook, NEXT, Outcome, REDIRECT, SHOT, Tcp, list, ping, tcp, udp,
};

const ROW: u32 = 7;

fn interval(protocol: u8, low: u16, high: u16) -> Interval {
    Interval::allow(protocol, low, high, 0)
}

fn verdict(outcome: &Outcome) -> (i32, Option<&'static str>) {
    (outcome.action, outcome.drop)
}

/// The other pod is class 1, the remote pod class 2, all else class 0.
fn classes(bench: &mut Bench) {
    bench.everybody(0).unwrap();
    for plan in FAMILIES {
        bench.peer(plan.neighbour, 1, PEER_POD).unwrap();
        bench.peer(plan.remote_pod, 2, PEER_POD).unwrap();
    }
}

#[test]
fn egress_is_judged_by_the_class_of_the_destination() {
    let mut bench = Bench::new().unwrap();
    classes(&mut bench);
    bench.row(ROW, &[DENY_ALL, ALLOW_ALL, list(1)]).unwrap();
    bench.intervals(1, &[interval(TCP, 80, 90)], 0).unwrap();
    bench.policy(1, ROW_ALLOW_ALL, ROW).unwrap();
    let denied = (SHOT, Some("policy-egress"));
    for plan in FAMILIES {
        for (to, expected) in [
            (plan.neighbour(1), (REDIRECT, None)),
            (plan.remote_pod(79), denied),
            (plan.remote_pod(80), (REDIRECT, None)),
            (plan.remote_pod(90), (REDIRECT, None)),
            (plan.remote_pod(91), denied),
            (plan.outside(80), denied),
        ] {
            let outcome = bench
                .run(Hook::FromPod, &tcp(plan.pod(4000), to, Tcp::Syn, b""))
                .unwrap();
            assert_eq!(verdict(&outcome), expected, "TCP to {to}");
        }
        let outcome = bench
            .run(
                Hook::FromPod,
                &udp(plan.pod(4000), plan.remote_pod(80), b""),
            )
            .unwrap();
        assert_eq!(verdict(&outcome), denied, "UDP is not TCP");
        assert!(
            bench
                .flow(plan.pod(4000), plan.outside(80), TCP)
                .unwrap()
                .is_none()
        );
    }
}

#[test]
fn egress_is_judged_behind_the_service() {
    let mut bench = Bench::new().unwrap();
    classes(&mut bench);
    bench.row(ROW, &[DENY_ALL, ALLOW_ALL, DENY_ALL]).unwrap();
    bench.policy(1, ROW_ALLOW_ALL, ROW).unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench
            .service(id, plan.vip(80), TCP, &[plan.neighbour(8080)], 0)
            .unwrap();
        bench
            .service(id + 10, plan.vip(81), TCP, &[plan.remote_pod(8080)], 0)
            .unwrap();
        for (port, expected) in [(80, (REDIRECT, None)), (81, (SHOT, Some("policy-egress")))] {
            let syn = tcp(plan.pod(4000), plan.vip(port), Tcp::Syn, b"");
            assert_eq!(
                verdict(&bench.run(Hook::FromPod, &syn).unwrap()),
                expected,
                "{port}"
            );
        }
    }
}

#[test]
fn ingress_is_judged_on_every_way_into_the_pod_and_answers_pass() {
    let mut bench = Bench::new().unwrap();
    classes(&mut bench);
    bench.row(ROW, &[DENY_ALL, DENY_ALL, list(1)]).unwrap();
    bench.intervals(1, &[interval(TCP, 80, 80)], 0).unwrap();
    bench.policy(1, ROW, ROW_ALLOW_ALL).unwrap();
    let denied = (SHOT, Some("policy-ingress"));
    for plan in FAMILIES {
        let from = |from, port| tcp(from, plan.pod(port), Tcp::Syn, b"");
        let cases = [
            (Hook::FromNeighbour, from(plan.neighbour(4000), 80), denied),
            (
                Hook::FromNet,
                from(plan.remote_pod(4000), 80),
                (REDIRECT, None),
            ),
            (Hook::FromNet, from(plan.remote_pod(4000), 81), denied),
            (Hook::ToPod, from(plan.remote_pod(4001), 80), (NEXT, None)),
            (Hook::ToPod, from(plan.outside(4001), 80), denied),
            (Hook::ToPodFromHost, from(plan.node(4001), 22), (NEXT, None)),
        ];
        for (hook, packet, expected) in cases {
            assert_eq!(
                verdict(&bench.run(hook, &packet).unwrap()),
                expected,
                "{hook:?}"
            );
        }
        // What the pod begins itself is answered whatever ingress says.
        let (a, b) = (plan.pod(5000), plan.neighbour(53));
        assert_eq!(
            bench.run(Hook::FromPod, &udp(a, b, b"?")).unwrap().action,
            REDIRECT
        );
        let answer = bench.run(Hook::FromNeighbour, &udp(b, a, b"!")).unwrap();
        assert_eq!(verdict(&answer), (REDIRECT, None));
    }
}

#[test]
fn known_flows_are_judged_anew_after_a_change() {
    let mut bench = Bench::new().unwrap();
    classes(&mut bench);
    bench.row(ROW, &[DENY_ALL, ALLOW_ALL, DENY_ALL]).unwrap();
    for plan in FAMILIES {
        bench.policy(1, ROW_ALLOW_ALL, ROW_ALLOW_ALL).unwrap();
        let (pod, kept, cut) = (plan.pod(4000), plan.neighbour(80), plan.remote_pod(80));
        for to in [kept, cut] {
            bench
                .run(Hook::FromPod, &tcp(pod, to, Tcp::Syn, b""))
                .unwrap();
        }
        bench.policy(1, ROW_ALLOW_ALL, ROW).unwrap();
        let outcome = bench
            .run(Hook::FromNeighbour, &tcp(kept, pod, Tcp::SynAck, b""))
            .unwrap();
        assert_eq!(verdict(&outcome), (REDIRECT, None));
        let outcome = bench
            .run(Hook::FromNet, &tcp(cut, pod, Tcp::SynAck, b""))
            .unwrap();
        assert_eq!(verdict(&outcome), (SHOT, Some("policy-egress")));
        // The entry stays, so that the other side's next packet does not begin the flow as its own.
        assert!(bench.flow(pod, cut, TCP).unwrap().is_some());
        let again = [
            (Hook::FromPod, tcp(pod, cut, Tcp::Ack, b"")),
            (Hook::FromNet, tcp(cut, pod, Tcp::SynAck, b"")),
            (Hook::FromPod, tcp(pod, cut, Tcp::Ack, b"")),
        ];
        for (hook, packet) in again {
            let outcome = bench.run(hook, &packet).unwrap();
            assert_eq!(verdict(&outcome), (SHOT, Some("policy-egress")));
        }
    }
}

#[test]
fn an_unknown_policy_shuts_the_pod_but_for_its_node() {
    let mut bench = Bench::new().unwrap();
    bench.policy(1, 0, 0).unwrap();
    for plan in FAMILIES {
        let none = (SHOT, Some("no-policy"));
        let out = bench
            .run(Hook::FromPod, &udp(plan.pod(1), plan.neighbour(2), b""))
            .unwrap();
        assert_eq!(verdict(&out), none);
        let inwards = bench
            .run(Hook::FromNet, &udp(plan.remote_pod(1), plan.pod(2), b""))
            .unwrap();
        assert_eq!(verdict(&inwards), none);
        let (node, pod) = (plan.node(1), plan.pod(2));
        let probe = bench
            .run(Hook::ToPodFromHost, &udp(node, pod, b""))
            .unwrap();
        assert_eq!(verdict(&probe), (NEXT, None));
        bench.policy(1, 0, 0).unwrap();
        let answer = bench.run(Hook::FromPod, &udp(pod, node, b"")).unwrap();
        assert_eq!(verdict(&answer), (NEXT, None), "also after a change");
    }
}

/// Every second port from 1 on, each by itself, up to the most that one list can hold; then single ports, ranges and
/// whole protocols mixed.
#[test]
fn lists_of_any_length_are_searched_to_their_end() {
    let mut bench = Bench::new().unwrap();
    classes(&mut bench);
    bench.row(ROW, &[DENY_ALL, list(1), DENY_ALL]).unwrap();
    for count in [1, 20, 21, 22, 160, 161, 441, 442, 1000, 9261, 9262, 32768] {
        let single = |port| interval(TCP, port, port);
        let mut ports: Vec<Interval> = (1..=u16::MAX).step_by(2).take(count).map(single).collect();
        ports.push(interval(UDP, 1000, 2000));
        bench.intervals(1, &ports, 0).unwrap();
        bench.policy(1, ROW_ALLOW_ALL, ROW).unwrap();
        let last = ports[count - 1].low;
        for plan in FAMILIES {
            let mut passes = |packet: &[u8]| {
                let outcome = bench.run(Hook::FromPod, packet).unwrap();
                assert!(
                    outcome.action == REDIRECT
                        || verdict(&outcome) == (SHOT, Some("policy-egress"))
                );
                outcome.action == REDIRECT
            };
            let some = (1..=last).step_by(1 + count / 40);
            for port in some.chain([last - 1, last, last.saturating_add(1)]) {
                let syn = tcp(plan.pod(4000), plan.neighbour(port), Tcp::Syn, b"");
                let expected = port % 2 == 1 && port <= last;
                assert_eq!(passes(&syn), expected, "{port} of {count}");
            }
            for (port, expected) in [(999, false), (1000, true), (2000, true), (2001, false)] {
                let datagram = udp(plan.pod(4000), plan.neighbour(port), b"");
                assert_eq!(passes(&datagram), expected, "UDP {port} of {count}");
            }
        }
    }
}

#[test]
fn a_list_that_leads_nowhere_denies() {
    let mut bench = Bench::new().unwrap();
    classes(&mut bench);
    bench.row(ROW, &[DENY_ALL, list(1), DENY_ALL]).unwrap();
    bench.policy(1, ROW_ALLOW_ALL, ROW).unwrap();
    // Deeper than any list, beyond the map, and the block that is not used.
    for (below, expected) in [
        (1, "policy-corrupt"),
        (1 << 20, "policy-corrupt"),
        (0, "policy-egress"),
    ] {
        let mut fence = interval(TCP, 0, 0);
        fence.cookie = below;
        bench.block(1, 1, &[fence]).unwrap();
        for plan in FAMILIES {
            let syn = tcp(plan.pod(4000), plan.neighbour(80), Tcp::Syn, b"");
            let outcome = bench.run(Hook::FromPod, &syn).unwrap();
            assert_eq!(verdict(&outcome), (SHOT, Some(expected)), "{below}");
        }
    }
}

#[test]
fn echoes_are_judged_by_type_and_code() {
    let mut bench = Bench::new().unwrap();
    classes(&mut bench);
    bench.row(ROW, &[DENY_ALL, list(1), list(2)]).unwrap();
    bench
        .intervals(
            1,
            &[
                interval(ICMP, 8 << 8, 8 << 8 | 255),
                interval(ICMPV6, 128 << 8, 128 << 8),
            ],
            0,
        )
        .unwrap();
    bench
        .intervals(2, &[interval(TCP, 0, u16::MAX)], 0)
        .unwrap();
    bench.policy(1, ROW_ALLOW_ALL, ROW).unwrap();
    for plan in FAMILIES {
        for (to, action) in [(plan.neighbour, REDIRECT), (plan.remote_pod, SHOT)] {
            let outcome = bench
                .run(Hook::FromPod, &ping(plan.pod, to, 1, false))
                .unwrap();
            assert_eq!(outcome.action, action);
        }
    }
}

#[test]
fn words_that_name_what_is_not_there_deny() {
    let mut bench = Bench::new().unwrap();
    let corrupt = (SHOT, Some("policy-corrupt"));
    for plan in FAMILIES {
        let packet = udp(plan.pod(1), plan.neighbour(2), b"");
        // No class for the peer.
        bench.policy(1, ROW_ALLOW_ALL, ROW).unwrap();
        if !plan.is_ipv6() {
            assert_eq!(
                verdict(&bench.run(Hook::FromPod, &packet).unwrap()),
                corrupt
            );
        }
        classes(&mut bench);
        // A class beyond the row, a list and a row beyond their maps.
        bench.row(ROW, &[ALLOW_ALL]).unwrap();
        assert_eq!(
            verdict(&bench.run(Hook::FromPod, &packet).unwrap()),
            corrupt
        );
        bench.row(ROW, &[ALLOW_ALL, list(1 << 20)]).unwrap();
        assert_eq!(
            verdict(&bench.run(Hook::FromPod, &packet).unwrap()),
            corrupt
        );
        bench.policy(1, ROW_ALLOW_ALL, 1 << 19).unwrap();
        assert_eq!(
            verdict(&bench.run(Hook::FromPod, &packet).unwrap()),
            corrupt
        );
        assert!(
            bench
                .flow(plan.pod(1), plan.neighbour(2), UDP)
                .unwrap()
                .is_none()
        );
    }
}

/// What comes to a pod without an interface before is the host's own only if it bears an address of the host: copies of fragments
/// come so, and what others have written into the host's stack.
#[test]
fn only_the_hosts_own_address_makes_a_packet_the_hosts_own() {
    let mut bench = Bench::new().unwrap();
    classes(&mut bench);
    bench.row(ROW, &[DENY_ALL, DENY_ALL, DENY_ALL]).unwrap();
    bench.policy(1, ROW, ROW_ALLOW_ALL).unwrap();
    let denied = (SHOT, Some("policy-ingress"));
    for plan in FAMILIES {
        for (from, expected) in [
            (plan.node(4001), (NEXT, None)),
            (plan.neighbour(4001), denied),
            (plan.remote_pod(4001), denied),
            (plan.outside(4001), denied),
            (plan.vip(4001), denied),
        ] {
            for packet in [
                tcp(from, plan.pod(80), Tcp::Syn, b""),
                udp(from, plan.pod(80), b"?"),
            ] {
                let outcome = bench.run(Hook::ToPodFromHost, &packet).unwrap();
                assert_eq!(verdict(&outcome), expected, "{from}");
            }
        }
    }
}
