//! Through the host's stack, which sees the pod and its peer in both directions.

use proxy_common::{
    address::{TCP, UDP},
    conntrack::{FLOW_MASQUERADED, FLOW_STACK},
};
use weir_tests::packets::{
    Bench, FAMILIES, Hook, MASQUERADE, NEXT, REDIRECT, SHOT, error_about, fragments, see, udp,
};

use super::{ALL, Carries, is_of_node};

fn bench() -> Bench {
    let mut bench = Bench::masquerading().unwrap();
    bench.set_flags(MASQUERADE).unwrap();
    bench
}

/// It goes on as it is.
fn passes(bench: &mut Bench, hook: Hook, packet: &[u8], what: &str) {
    let outcome = bench.run(hook, packet).unwrap();
    assert_eq!(
        (outcome.action, outcome.drop),
        (NEXT, None),
        "{what} at {hook:?}"
    );
    assert_eq!(outcome.bytes, packet, "{what} at {hook:?}");
}

#[test]
fn the_link_turns_what_the_stack_has_routed() {
    let mut bench = bench();
    for plan in FAMILIES {
        for carries in ALL {
            let what = format!("{carries:?}");
            let (pod, server) = (plan.pod(4000), plan.outside(carries.port(443)));
            let asked = carries.asks(pod, server);
            let mut last = None;
            for _ in 0..2 {
                passes(&mut bench, Hook::FromPod, &asked, &what);
                let outcome = bench.run(Hook::ToNetForwarded, &asked).unwrap();
                assert_eq!((outcome.action, outcome.drop), (NEXT, None), "{what}");
                let (ours, there) = carries.ends(&outcome.bytes, false);
                assert_eq!((ours.ip(), there), (plan.node, server), "{what}");
                assert!(is_of_node(ours.port()), "{what}: {ours}");
                assert!(last.is_none_or(|last| last == ours), "{what}");
                last = Some(ours);
                let outcome = bench
                    .run(Hook::FromNet, &carries.answers(server, ours))
                    .unwrap();
                assert_eq!((outcome.action, outcome.drop), (NEXT, None), "{what}");
                assert_eq!(carries.ends(&outcome.bytes, true), (server, pod), "{what}");
                passes(&mut bench, Hook::ToPod, &outcome.bytes, &what);
            }
            let [from, to] = carries.tuple(pod, server);
            let number = carries.number(plan.is_ipv6());
            let flow = bench.flow(from, to, number).unwrap().unwrap();
            let flags = FLOW_STACK | FLOW_MASQUERADED;
            assert_eq!(flow.flags() & flags, flags, "{what}");
        }
    }
}

/// The Service's record and the link's stand side by side.
#[test]
fn a_service_out_of_the_cluster_is_translated_in_two_places() {
    let mut bench = bench();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (pod, vip, server) = (plan.pod(4000), plan.vip(443), plan.outside(6443));
        bench.service(id, vip, TCP, &[server], 0).unwrap();
        let outcome = bench
            .run(Hook::FromPod, &Carries::Tcp.asks(pod, vip))
            .unwrap();
        assert_eq!(outcome.action, NEXT);
        assert_eq!(Carries::Tcp.ends(&outcome.bytes, false), (pod, server));
        let outcome = bench.run(Hook::ToNetForwarded, &outcome.bytes).unwrap();
        let (ours, there) = Carries::Tcp.ends(&outcome.bytes, false);
        assert_eq!((ours.ip(), there), (plan.node, server));
        let outcome = bench
            .run(Hook::FromNet, &Carries::Tcp.answers(server, ours))
            .unwrap();
        assert_eq!(outcome.action, NEXT);
        assert_eq!(Carries::Tcp.ends(&outcome.bytes, true), (server, pod));
        let outcome = bench.run(Hook::ToPod, &outcome.bytes).unwrap();
        assert_eq!(outcome.action, NEXT);
        assert_eq!(Carries::Tcp.ends(&outcome.bytes, true), (vip, pod));
    }
}

#[test]
fn errors_of_routers_and_of_the_node_itself_are_turned() {
    let mut bench = bench();
    for plan in FAMILIES {
        let (pod, server) = (plan.pod(4000), plan.outside(443));
        let asked = Carries::Udp.asks(pod, server);
        passes(&mut bench, Hook::FromPod, &asked, "a question");
        let sent = bench.run(Hook::ToNetForwarded, &asked).unwrap().bytes;
        let (ours, _) = Carries::Udp.ends(&sent, false);
        let error = error_about(plan.second, plan.node, &sent, true);
        let outcome = bench.run(Hook::FromNet, &error).unwrap();
        assert_eq!((outcome.action, outcome.drop), (NEXT, None));
        let seen = see(&outcome.bytes);
        assert_eq!(seen.destination.ip(), plan.pod);
        assert_eq!(seen.quoted, Some((pod, server)));
        passes(&mut bench, Hook::ToPod, &outcome.bytes, "an error");
        // An answer that the way to the pod has no room for.
        let answer = Carries::Udp.answers(server, ours);
        let turned = bench.run(Hook::FromNet, &answer).unwrap().bytes;
        let own = error_about(plan.node, server.ip(), &turned, true);
        let outcome = bench.run(Hook::ToNet, &own).unwrap();
        assert_eq!((outcome.action, outcome.drop), (NEXT, None));
        let seen = see(&outcome.bytes);
        assert_eq!(
            (seen.source.ip(), seen.destination.ip()),
            (plan.node, server.ip())
        );
        assert_eq!(seen.quoted, Some((server, ours)));
    }
}

/// In "bpf" forwarding: what is too big for the way is the stack's, which cuts it or answers; the link turns the pieces.
#[test]
fn what_the_programs_leave_to_the_stack_is_turned_on_its_way_out() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let (pod, server) = (plan.pod(4000), plan.outside(53));
        let outcome = bench.run(Hook::FromPod, &udp(pod, server, b"?")).unwrap();
        assert_eq!(outcome.action, REDIRECT);
        let ours = see(&outcome.bytes).source;
        let large = udp(pod, server, &[7; 1600]);
        passes(&mut bench, Hook::FromPod, &large, "too big");
        for piece in fragments(&large, 77) {
            let outcome = bench.run(Hook::ToNetForwarded, &piece).unwrap();
            assert_eq!((outcome.action, outcome.drop), (NEXT, None));
            assert_ne!(outcome.bytes, piece);
        }
        let flow = bench.flow(pod, server, UDP).unwrap().unwrap();
        assert_eq!(flow.target(), (ours, server));
        let [_, later] = fragments(&udp(pod, server, &[7; 160]), 78);
        let outcome = bench.run(Hook::ToNetForwarded, &later).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (SHOT, Some("fragment-unknown"))
        );
    }
}
