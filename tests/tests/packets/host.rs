//! The host's own packets that no socket hook sees: to Services, to pods, and the answers.

use proxy_common::address::{TCP, UDP};
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, REDIRECT, Tcp, see, tcp, udp};

#[test]
fn the_host_reaches_a_service_in_a_pod_of_its_own() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.node(4000), plan.vip(80), plan.pod(8080));
        bench.service(id, vip, TCP, &[backend], 0).unwrap();
        bench.policy(1, 0, 0).unwrap();
        let outcome = bench
            .run(Hook::ToNet, &tcp(client, vip, Tcp::Syn, b""))
            .unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        assert_eq!(
            outcome.bytes[..6],
            [2, 0, 0, 0, 1, 1],
            "to the pod's interface"
        );
        let seen = see(&outcome.bytes);
        assert_eq!((seen.source, seen.destination), (client, backend));
        let arrived = bench.run(Hook::ToPodFromHost, &outcome.bytes).unwrap();
        assert_eq!(
            (arrived.action, arrived.drop),
            (NEXT, None),
            "no policy against the own node"
        );
        let answer = tcp(backend, client, Tcp::SynAck, b"");
        let outcome = bench.run(Hook::FromPod, &answer).unwrap();
        assert_eq!(outcome.action, REDIRECT, "into weir_host");
        let seen = see(&outcome.bytes);
        assert_eq!((seen.source, seen.destination), (vip, client));
    }
}

#[test]
fn the_host_reaches_a_service_elsewhere() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.node(4000), plan.vip(53), plan.remote_pod(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        let outcome = bench.run(Hook::ToNet, &udp(client, vip, b"?")).unwrap();
        assert_eq!(outcome.action, REDIRECT);
        let seen = see(&outcome.bytes);
        let ours = seen.source;
        assert_eq!(
            (ours.ip(), seen.destination, seen.hops),
            (client.ip(), backend, 64)
        );
        let outcome = bench.run(Hook::FromNet, &udp(backend, ours, b"!")).unwrap();
        assert_eq!(outcome.action, NEXT);
        assert_eq!(see(&outcome.bytes).source, vip);
    }
}

#[test]
fn the_hosts_other_traffic_and_what_is_forwarded_pass() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let packet = udp(plan.node(4000), plan.outside(53), b"?");
        for hook in [Hook::ToNet, Hook::ToNetForwarded] {
            let outcome = bench.run(hook, &packet).unwrap();
            assert_eq!((outcome.action, &outcome.bytes), (NEXT, &packet));
        }
    }
}
