//! While maps of flows are exchanged none begins, wherever it would; what has begun goes on.

use proxy_common::node::NODE_FORWARD_BPF;
use weir_tests::packets::{Bench, FAMILIES, Hook, MASQUERADE, NEXT, REDIRECT, SHOT};

use super::{ALL, Carries, at, went};

fn waits(bench: &mut Bench, hook: Hook, packet: &[u8], what: &str) {
    let outcome = bench.run(hook, packet).unwrap();
    let expected = (SHOT, Some("settling"));
    assert_eq!(
        (outcome.action, outcome.drop),
        expected,
        "{what} at {hook:?}"
    );
}

#[test]
fn no_flow_of_a_pod_begins_and_no_answer_to_one_is_taken_for_the_hosts() {
    let mut bench = Bench::masquerading().unwrap();
    for (flags, hook, action) in [
        (NODE_FORWARD_BPF | MASQUERADE, Hook::FromPod, REDIRECT),
        (MASQUERADE, Hook::ToNetForwarded, NEXT),
    ] {
        bench.set_flags(flags).unwrap();
        for plan in FAMILIES {
            for carries in ALL {
                let what = format!("{carries:?}");
                let server = plan.outside(carries.port(443));
                let [old, new] = [4000, 4001].map(|port| carries.asks(plan.pod(port), server));
                let begun = bench.run(hook, &old).unwrap();
                went(&begun, action, &what);
                let (ours, _) = carries.ends(&begun.bytes, false);
                bench.settle(true).unwrap();
                let goes_on = bench.run(hook, &old).unwrap();
                went(&goes_on, action, &what);
                assert_eq!(carries.ends(&goes_on.bytes, false).0, ours, "{what}");
                waits(&mut bench, hook, &new, &what);
                // As if its flow stood in other maps: another port of the node's.
                let other = at(ours.ip(), ours.port() ^ 1);
                waits(
                    &mut bench,
                    Hook::FromNet,
                    &carries.answers(server, other),
                    &what,
                );
                bench.settle(false).unwrap();
                went(&bench.run(hook, &new).unwrap(), action, &what);
            }
        }
        bench.end_all().unwrap();
    }
}

#[test]
fn the_hosts_own_sockets_wait_for_nothing() {
    let mut bench = Bench::masquerading().unwrap();
    bench.settle(true).unwrap();
    for plan in FAMILIES {
        let (own, server) = (at(plan.node, 40_000), plan.outside(443));
        for carries in [Carries::Tcp, Carries::Udp] {
            for (hook, packet) in [
                (Hook::ToNet, carries.asks(own, server)),
                (Hook::FromNet, carries.answers(server, own)),
            ] {
                let outcome = bench.run(hook, &packet).unwrap();
                assert_eq!((outcome.action, outcome.drop), (NEXT, None), "{hook:?}");
            }
        }
    }
}
