//! Who has which port, or identifier.

use std::{collections::BTreeSet, net::SocketAddr};

use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, SHOT};

use super::{ALL, Carries, is_of_node, went};

/// What a pod's flow looks like outside.
fn asks(
    bench: &mut Bench,
    hook: Hook,
    carries: Carries,
    [from, to]: [SocketAddr; 2],
) -> SocketAddr {
    let outcome = bench.run(hook, &carries.asks(from, to)).unwrap();
    went(&outcome, REDIRECT, &format!("{carries:?} from {from}"));
    carries.ends(&outcome.bytes, false).0
}

fn server(plan: &Plan, carries: Carries) -> SocketAddr {
    plan.outside(carries.port(443))
}

#[test]
fn two_pods_with_one_port_to_one_destination_are_told_apart() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        for carries in ALL {
            let to = server(&plan, carries);
            let pods = [
                (Hook::FromPod, plan.pod(4000)),
                (Hook::FromNeighbour, plan.neighbour(4000)),
            ];
            let ours = pods.map(|(hook, pod)| asks(&mut bench, hook, carries, [pod, to]));
            assert_ne!(ours[0], ours[1], "{carries:?}");
            for ((_, pod), ours) in pods.into_iter().zip(ours) {
                let answer = carries.answers(to, ours);
                let outcome = bench.run(Hook::FromNet, &answer).unwrap();
                assert_eq!(carries.ends(&outcome.bytes, true), (to, pod));
            }
        }
    }
}

#[test]
fn ports_are_not_shared_run_out_and_come_back_with_the_pods_end() {
    for plan in FAMILIES {
        for carries in ALL {
            let mut bench = Bench::masquerading().unwrap();
            bench.source_ports(20000, 20003).unwrap();
            let to = server(&plan, carries);
            let (mut taken, mut clients, mut refused) = (BTreeSet::new(), Vec::new(), 0);
            for port in 4000..4040 {
                let outcome = bench
                    .run(Hook::FromPod, &carries.asks(plan.pod(port), to))
                    .unwrap();
                if outcome.action == REDIRECT {
                    let (ours, _) = carries.ends(&outcome.bytes, false);
                    assert!(taken.insert(ours.port()), "a port for two");
                    clients.push(plan.pod(port));
                } else {
                    let found = (outcome.action, outcome.drop);
                    assert_eq!(found, (SHOT, Some("no-source-port")));
                    refused += 1;
                }
            }
            assert_eq!((taken.len(), refused), (4, 36), "{carries:?}");
            // Another destination has all of them.
            let other = SocketAddr::new(plan.second, to.port());
            let outcome = bench
                .run(Hook::FromPod, &carries.asks(plan.pod(4000), other))
                .unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (REDIRECT, None),
                "{carries:?}"
            );
            // As the agent does when the pod is gone.
            for pod in clients {
                let ends = carries.tuple(pod, to);
                bench.end(ends, carries.number(plan.is_ipv6())).unwrap();
            }
            for port in 5000..5004 {
                asks(
                    &mut bench,
                    Hook::FromNeighbour,
                    carries,
                    [plan.neighbour(port), to],
                );
            }
        }
    }
}

#[test]
fn a_port_of_a_live_socket_of_the_host_is_never_taken() {
    for plan in FAMILIES {
        for carries in ALL {
            let mut bench = Bench::masquerading().unwrap();
            bench.source_ports(20000, 20003).unwrap();
            let to = server(&plan, carries);
            // The pod's own port would be the same one.
            let (own, pod) = (plan.node(20001), plan.pod(20001));
            let sent = carries.asks(own, to);
            let outcome = bench.run(Hook::ToNet, &sent).unwrap();
            assert_eq!((outcome.action, &outcome.bytes), (NEXT, &sent));
            let asked = carries.asks(pod, to);
            let outcome = bench.run(Hook::FromPod, &asked).unwrap();
            let (ours, _) = carries.ends(&outcome.bytes, false);
            assert_ne!(ours, own, "{carries:?}");
            let answer = carries.answers(to, own);
            let outcome = bench.run(Hook::FromNet, &answer).unwrap();
            assert_eq!(
                (outcome.action, outcome.bytes),
                (NEXT, answer),
                "{carries:?}"
            );
        }
    }
}

#[test]
fn a_socket_of_the_host_that_comes_second_gets_its_answers_too() {
    for plan in FAMILIES {
        for carries in ALL {
            let mut bench = Bench::masquerading().unwrap();
            let to = server(&plan, carries);
            let ours = asks(&mut bench, Hook::FromPod, carries, [plan.pod(4000), to]);
            assert!(is_of_node(ours.port()));
            let outcome = bench.run(Hook::ToNet, &carries.asks(ours, to)).unwrap();
            assert_eq!((outcome.action, outcome.drop), (NEXT, None));
            let (own, _) = carries.ends(&outcome.bytes, false);
            assert!(own.ip() == plan.node && own != ours, "{carries:?} {own}");
            let outcome = bench.run(Hook::FromNet, &carries.answers(to, own)).unwrap();
            assert_eq!(outcome.action, NEXT);
            assert_eq!(
                carries.ends(&outcome.bytes, true),
                (to, ours),
                "{carries:?}"
            );
            let outcome = bench
                .run(Hook::FromNet, &carries.answers(to, ours))
                .unwrap();
            let expected = (to, plan.pod(4000));
            assert_eq!(carries.ends(&outcome.bytes, true), expected, "{carries:?}");
        }
    }
}
