//! What is not masqueraded: what stays in the cluster, what leaves by no link of ours, what cannot be.

use etherparse::IpNumber;
use proxy_common::{address::TCP, node::NODE_FORWARD_BPF};
use weir_tests::packets::{
    Bench, FAMILIES, Hook, MASQUERADE, NEXT, REDIRECT, SHOT, V4, V6, error_about, icmpv6, other,
    ping, see, udp,
};

use super::{ALL, Carries, at, is_of_node, went};

#[test]
fn pods_nodes_and_what_is_inside_see_the_pods_address() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let inside = if plan.is_ipv6() {
            "fd00:2::77"
        } else {
            "10.2.0.77"
        };
        for carries in ALL {
            for (to, action) in [
                (plan.neighbour, REDIRECT),
                (plan.remote_pod, REDIRECT),
                (plan.node, NEXT),
                (inside.parse().unwrap(), NEXT),
            ] {
                let (pod, to) = (plan.pod(4000), at(to, carries.port(443)));
                let outcome = bench.run(Hook::FromPod, &carries.asks(pod, to)).unwrap();
                let what = format!("{carries:?} to {to}");
                went(&outcome, action, &what);
                assert_eq!(carries.ends(&outcome.bytes, false), (pod, to), "{what}");
            }
        }
    }
}

/// A pod that policy knows is one, though its node is not known yet.
#[test]
fn a_pod_of_an_unknown_node_sees_the_pods_address() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let stranger = if plan.is_ipv6() {
            "fd00:3::77"
        } else {
            "192.0.2.77"
        };
        let to = at(stranger.parse().unwrap(), 80);
        bench
            .peer(to.ip(), 0, proxy_common::policy::peers::PEER_POD)
            .unwrap();
        let asked = udp(plan.pod(4000), to, b"?");
        let outcome = bench.run(Hook::FromPod, &asked).unwrap();
        went(&outcome, REDIRECT, "to a pod");
        assert_eq!(see(&outcome.bytes).source, plan.pod(4000));
    }
}

#[test]
fn what_leaves_by_no_link_of_ours_is_left_to_the_stack() {
    let mut bench = Bench::new().unwrap();
    bench.configure(NODE_FORWARD_BPF | MASQUERADE).unwrap();
    bench.leave_alone("net0").unwrap();
    for plan in FAMILIES {
        for carries in ALL {
            let (pod, server) = (plan.pod(4000), plan.outside(carries.port(443)));
            let asked = carries.asks(pod, server);
            let outcome = bench.run(Hook::FromPod, &asked).unwrap();
            assert_eq!((outcome.action, outcome.bytes), (NEXT, asked));
            let number = carries.number(plan.is_ipv6());
            let [from, to] = carries.tuple(pod, server);
            let known = bench.flow(from, to, number).unwrap();
            assert!(known.is_some(), "its answers are known for such");
        }
    }
}

/// A link that has just come gets its programs in a moment: what begins now has the pod's address, and is sent again then.
#[test]
fn nothing_leaves_by_a_link_that_is_not_known_yet() {
    let mut bench = Bench::new().unwrap();
    bench.configure(NODE_FORWARD_BPF | MASQUERADE).unwrap();
    for plan in FAMILIES {
        for carries in ALL {
            let (pod, server) = (plan.pod(4000), plan.outside(carries.port(443)));
            let asked = carries.asks(pod, server);
            let outcome = bench.run(Hook::FromPod, &asked).unwrap();
            let found = (outcome.action, outcome.drop);
            assert_eq!(found, (SHOT, Some("not-masqueraded")));
            let number = carries.number(plan.is_ipv6());
            let [from, to] = carries.tuple(pod, server);
            assert_eq!(bench.flow(from, to, number).unwrap(), None, "no record");
        }
    }
    bench.link("net0", [V4.node, V6.node]).unwrap();
    for plan in FAMILIES {
        for carries in ALL {
            let (pod, server) = (plan.pod(4000), plan.outside(carries.port(443)));
            let asked = carries.asks(pod, server);
            let outcome = bench.run(Hook::FromPod, &asked).unwrap();
            went(&outcome, REDIRECT, "known now");
            assert_eq!(carries.ends(&outcome.bytes, false).0.ip(), plan.node);
        }
    }
}

/// The stack answers, and no record stands in the way of the next packet.
#[test]
fn what_leads_nowhere_is_left_to_the_stack() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let nowhere = if plan.is_ipv6() {
            "2001:db8:9::9"
        } else {
            "203.0.113.9"
        };
        let to = at(nowhere.parse().unwrap(), 80);
        let asked = udp(plan.pod(4000), to, b"?");
        let outcome = bench.run(Hook::FromPod, &asked).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, asked));
        assert_eq!(bench.flow(plan.pod(4000), to, 17).unwrap(), None);
    }
}

#[test]
fn what_no_answer_could_be_told_of_is_dropped_by_name() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let (pod, outside) = (plan.pod, plan.outside);
        let never = udp(plan.outside(1), plan.pod(2), b"never was here");
        let icmp = if plan.is_ipv6() {
            icmpv6(pod, outside, 139, 64, &[0; 16])
        } else {
            // A timestamp request.
            other(
                pod,
                outside,
                IpNumber::ICMP,
                &[13, 0, 0xf2, 0xff, 0, 0, 0, 0],
            )
        };
        for (packet, what) in [
            (other(pod, outside, IpNumber::GRE, &[0; 16]), "GRE"),
            (
                other(
                    pod,
                    outside,
                    IpNumber::ENCAPSULATING_SECURITY_PAYLOAD,
                    &[0; 16],
                ),
                "ESP",
            ),
            (ping(pod, outside, 7, true), "a reply to nothing"),
            (icmp, "another ICMP message"),
            (
                error_about(pod, outside, &never, false),
                "an error about nothing",
            ),
            (
                error_about(pod, plan.second, &never, false),
                "an error for somebody else",
            ),
        ] {
            for hook in [Hook::FromPod, Hook::ToNetForwarded] {
                let outcome = bench.run(hook, &packet).unwrap();
                let found = (outcome.action, outcome.drop);
                assert_eq!(found, (SHOT, Some("not-masqueraded")), "{what} at {hook:?}");
            }
            // The host may send what it likes, and so may its containers.
            let mut own = packet.clone();
            let at = 14 + if plan.is_ipv6() { 8 } else { 12 };
            own[at] = 77;
            let outcome = bench.run(Hook::ToNetForwarded, &own).unwrap();
            assert_eq!((outcome.action, outcome.bytes), (NEXT, own), "{what}");
        }
    }
}

#[test]
fn policy_is_judged_on_the_pods_own_address() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        for carries in ALL {
            bench.policy(1, 0, 0).unwrap();
            let asked = carries.asks(plan.pod(4000), plan.outside(carries.port(443)));
            for hook in [Hook::FromPod, Hook::ToNetForwarded] {
                let outcome = bench.run(hook, &asked).unwrap();
                assert_eq!((outcome.action, outcome.drop), (SHOT, Some("no-policy")));
            }
            // Its neighbour may, and nobody else may use what it was given.
            let asked = carries.asks(plan.neighbour(4000), plan.outside(carries.port(443)));
            let outcome = bench.run(Hook::FromNeighbour, &asked).unwrap();
            went(&outcome, REDIRECT, "the neighbour");
            let outcome = bench.run(Hook::FromPod, &asked).unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (SHOT, Some("spoofed-source"))
            );
        }
    }
}

/// A flow is judged again when policy changes, in both directions.
#[test]
fn what_policy_forbids_later_ends() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let allow = proxy_common::policy::words::ROW_ALLOW_ALL;
        bench.policy(1, 0, allow).unwrap();
        let (pod, server) = (plan.pod(4000), plan.outside(443));
        let outcome = bench
            .run(Hook::FromPod, &Carries::Udp.asks(pod, server))
            .unwrap();
        let (ours, _) = Carries::Udp.ends(&outcome.bytes, false);
        let answer = Carries::Udp.answers(server, ours);
        went(
            &bench.run(Hook::FromNet, &answer).unwrap(),
            REDIRECT,
            "isolated for ingress",
        );
        bench.policy(1, 0, 0).unwrap();
        let outcome = bench.run(Hook::FromNet, &answer).unwrap();
        assert_eq!((outcome.action, outcome.drop), (SHOT, Some("no-policy")));
    }
}

#[test]
fn a_service_out_of_the_cluster_is_asked_in_the_nodes_name() {
    let mut bench = Bench::masquerading().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (pod, vip, server) = (plan.pod(4000), plan.vip(443), plan.outside(6443));
        bench.service(id, vip, TCP, &[server], 0).unwrap();
        let outcome = bench
            .run(Hook::FromPod, &Carries::Tcp.asks(pod, vip))
            .unwrap();
        went(&outcome, REDIRECT, "a question");
        let (ours, there) = Carries::Tcp.ends(&outcome.bytes, false);
        assert_eq!((ours.ip(), there), (plan.node, server));
        assert!(is_of_node(ours.port()));
        let outcome = bench
            .run(Hook::FromNet, &Carries::Tcp.answers(server, ours))
            .unwrap();
        went(&outcome, REDIRECT, "an answer");
        assert_eq!(Carries::Tcp.ends(&outcome.bytes, true), (vip, pod));
    }
}

/// Of tuples alone it would be an answer.
#[test]
fn who_pings_the_node_with_an_identifier_of_ours_is_answered_by_it() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let outcome = bench
            .run(Hook::FromPod, &ping(plan.pod, plan.outside, 7, false))
            .unwrap();
        let (ours, _) = Carries::Echo.ends(&outcome.bytes, false);
        let request = ping(plan.outside, plan.node, ours.port(), false);
        let outcome = bench.run(Hook::FromNet, &request).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, request));
        let reply = ping(plan.node, plan.outside, ours.port(), true);
        let outcome = bench.run(Hook::ToNet, &reply).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, reply));
    }
}
