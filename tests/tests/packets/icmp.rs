//! ICMP errors follow the flow that they are about.

use proxy_common::address::{TCP, UDP};
use proxy_common::policy::words::ROW_ALLOW_ALL;
use weir_tests::packets::{
    Bench, FAMILIES, Hook, NEXT, REDIRECT, SHOT, Tcp, error_about, fragments, see, tcp, udp,
    with_options,
};

#[test]
fn an_error_of_the_backend_reaches_the_client_as_one_of_the_service() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(53), plan.neighbour(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        bench.policy(1, 0, ROW_ALLOW_ALL).unwrap();
        let sent = bench
            .run(Hook::FromPod, &udp(client, vip, b"question"))
            .unwrap();
        let error = error_about(plan.neighbour, plan.pod, &sent.bytes, false);
        let outcome = bench.run(Hook::FromNeighbour, &error).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let seen = see(&outcome.bytes);
        assert_eq!(
            (seen.source.ip(), seen.destination.ip()),
            (plan.vip, plan.pod)
        );
        assert_eq!(seen.quoted, Some((client, vip)));
        let flow = bench.flow(client, vip, UDP).unwrap().unwrap();
        assert_eq!(flow.flags(), 0, "an error is no answer");
    }
}

#[test]
fn a_router_keeps_its_address_when_it_says_too_big() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(80), plan.remote_pod(8080));
        bench.service(id, vip, TCP, &[backend], 0).unwrap();
        let sent = bench
            .run(Hook::FromPod, &tcp(client, vip, Tcp::Syn, b""))
            .unwrap();
        let error = error_about(plan.outside, plan.pod, &sent.bytes, true);
        let outcome = bench.run(Hook::FromNet, &error).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let seen = see(&outcome.bytes);
        assert_eq!(
            (seen.source.ip(), seen.destination.ip()),
            (plan.outside, plan.pod)
        );
        assert_eq!(seen.quoted, Some((client, vip)));
    }
}

#[test]
fn an_error_of_a_client_pod_reaches_the_backend() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(53), plan.neighbour(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        bench
            .run(Hook::FromPod, &udp(client, vip, b"question"))
            .unwrap();
        let answer = bench
            .run(Hook::FromNeighbour, &udp(backend, client, b"answer"))
            .unwrap();
        let error = error_about(plan.pod, plan.vip, &answer.bytes, false);
        let outcome = bench.run(Hook::FromPod, &error).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let seen = see(&outcome.bytes);
        assert_eq!(
            (seen.source.ip(), seen.destination.ip()),
            (plan.pod, plan.neighbour)
        );
        assert_eq!(seen.quoted, Some((backend, client)));
    }
}

#[test]
fn errors_cross_source_translation() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let any = if plan.is_ipv6() {
            "[::]:30080"
        } else {
            "0.0.0.0:30080"
        };
        let (client, frontend, backend) =
            (plan.outside(4000), plan.node(30080), plan.remote_pod(8080));
        let flags = proxy_common::frontends::FLAG_NODE_PORT;
        bench
            .service(id, any.parse().unwrap(), UDP, &[backend], flags)
            .unwrap();
        let sent = bench
            .run(Hook::FromNet, &udp(client, frontend, b"question"))
            .unwrap();
        let error = error_about(plan.remote_pod, plan.node, &sent.bytes, false);
        let outcome = bench.run(Hook::FromNet, &error).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let seen = see(&outcome.bytes);
        assert_eq!(
            (seen.source.ip(), seen.destination.ip()),
            (plan.node, plan.outside)
        );
        assert_eq!(seen.quoted, Some((client, frontend)));
    }
}

#[test]
fn errors_about_unknown_flows_are_judged_and_too_big_passes() {
    let mut bench = Bench::new().unwrap();
    bench.policy(1, 0, 0).unwrap();
    for plan in FAMILIES {
        let never_sent = udp(plan.pod(1), plan.remote_pod(2), b"long enough");
        for (too_big, action) in [(false, SHOT), (true, REDIRECT)] {
            let error = error_about(plan.outside, plan.pod, &never_sent, too_big);
            assert_eq!(bench.run(Hook::FromNet, &error).unwrap().action, action);
        }
        let never_got = udp(plan.remote_pod(1), plan.pod(2), b"long enough");
        let error = error_about(plan.pod, plan.remote_pod, &never_got, false);
        let outcome = bench.run(Hook::FromPod, &error).unwrap();
        assert_eq!((outcome.action, outcome.drop), (SHOT, Some("no-policy")));
    }
}

#[test]
fn a_flow_vouches_for_errors_to_its_other_side_only() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        bench.policy(1, ROW_ALLOW_ALL, 0).unwrap();
        let asked = udp(plan.remote_pod(1), plan.pod(2), b"long enough");
        let outcome = bench.run(Hook::FromNet, &asked).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        for (to, expected) in [
            (plan.remote_pod, (REDIRECT, None)),
            (plan.outside, (SHOT, Some("no-policy"))),
            (plan.neighbour, (SHOT, Some("no-policy"))),
        ] {
            let error = error_about(plan.pod, to, &asked, false);
            let outcome = bench.run(Hook::FromPod, &error).unwrap();
            assert_eq!((outcome.action, outcome.drop), expected, "to {to}");
        }
    }
}

#[test]
fn errors_for_the_host_are_let_alone() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let sent = udp(plan.node(1), plan.outside(2), b"long enough");
        let error = error_about(plan.outside, plan.node, &sent, true);
        let outcome = bench.run(Hook::FromNet, &error).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, error));
    }
}

/// What a router quotes has what the packet had between its header and its transport.
#[test]
fn an_error_about_a_first_fragment_or_a_packet_with_options_is_turned_too() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = Bench::new().unwrap();
        let (client, vip, backend) = (plan.pod(4000), plan.vip(53), plan.remote_pod(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        let datagram = udp(client, vip, &[0x77; 64]);
        let [first, later] = fragments(&datagram, 9);
        for sent in [first, with_options(&datagram)] {
            let sent = bench.run(Hook::FromPod, &sent).unwrap();
            let error = error_about(plan.outside, plan.pod, &sent.bytes, true);
            let outcome = bench.run(Hook::FromNet, &error).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
            let seen = see(&outcome.bytes);
            assert_eq!(
                (seen.source.ip(), seen.destination.ip()),
                (plan.outside, plan.pod)
            );
            assert_eq!(seen.quoted, Some((client, vip)));
        }
        // A later one has no ports to find a flow by: it goes on as it is.
        let sent = bench.run(Hook::FromPod, &later).unwrap();
        let error = error_about(plan.outside, plan.pod, &sent.bytes, true);
        let outcome = bench.run(Hook::FromNet, &error).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        assert_eq!(outcome.bytes[14..], error[14..]);
    }
}

/// Of its tunnel to another node, say: the host would take the way for a narrow one.
#[test]
fn a_pod_has_no_say_about_packets_that_it_did_not_get() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        bench.policy(1, ROW_ALLOW_ALL, ROW_ALLOW_ALL).unwrap();
        let ends = [
            plan.node,
            plan.outside,
            plan.neighbour,
            plan.remote_pod,
            plan.vip,
        ];
        for (from, to) in ends.iter().flat_map(|from| ends.map(|to| (*from, to))) {
            let at = |ip| std::net::SocketAddr::new(ip, 4789);
            let passed = udp(at(from), at(to), b"long enough");
            for too_big in [true, false] {
                let error = error_about(plan.pod, from, &passed, too_big);
                let outcome = bench.run(Hook::FromPod, &error).unwrap();
                let seen = (outcome.action, outcome.drop);
                assert_eq!(seen, (SHOT, Some("spoofed-source")), "{from} to {to}");
            }
        }
        let got = udp(plan.node(4789), plan.pod(4789), b"long enough");
        let error = error_about(plan.pod, plan.node, &got, false);
        let outcome = bench.run(Hook::FromPod, &error).unwrap();
        assert_eq!((outcome.action, outcome.drop), (NEXT, None));
    }
}
