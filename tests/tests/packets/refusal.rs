//! Frontends without backends: the client is told, or the packet is dropped.

use std::net::SocketAddr;

use proxy_common::{
    address::{TCP, UDP},
    frontends::{FLAG_CLUSTER_IP, FLAG_EXTERNAL_DROP, FLAG_INTERNAL_DROP, FLAG_NODE_PORT},
};
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan, REDIRECT, SHOT, Tcp, see, tcp, udp};

use crate::room::on_one_cpu;

fn unspecified(plan: &Plan, port: u16) -> SocketAddr {
    let any = if plan.is_ipv6() { "[::]" } else { "0.0.0.0" };
    format!("{any}:{port}").parse().unwrap()
}

#[test]
fn a_connection_is_reset() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip) = (plan.pod(4000), plan.vip(80));
        bench.service(id, vip, TCP, &[], 0).unwrap();
        let syn = tcp(client, vip, Tcp::Syn, b"");
        let outcome = bench.run(Hook::FromPod, &syn).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (REDIRECT, Some("no-backend"))
        );
        assert_eq!(outcome.bytes[..6], syn[6..12], "back to the sender");
        let seen = see(&outcome.bytes);
        assert_eq!((seen.source, seen.destination), (vip, client));
        let reset = seen.tcp.unwrap();
        assert!(reset.rst && reset.ack && !reset.syn);
        assert_eq!(
            (reset.sequence_number, reset.acknowledgment_number),
            (0, 1001)
        );

        let data = tcp(client, vip, Tcp::Ack, b"data");
        let reset = see(&bench.run(Hook::FromPod, &data).unwrap().bytes)
            .tcp
            .unwrap();
        assert!(reset.rst && !reset.ack);
        assert_eq!(
            (reset.sequence_number, reset.acknowledgment_number),
            (2000, 0)
        );

        let rst = tcp(client, vip, Tcp::Rst, b"");
        assert_eq!(
            bench.run(Hook::FromPod, &rst).unwrap().action,
            SHOT,
            "no RST for a RST"
        );
    }
}

#[test]
fn a_datagram_is_answered_with_port_unreachable() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip) = (plan.pod(4000), plan.vip(53));
        bench.service(id, vip, UDP, &[], 0).unwrap();
        for length in [0, 1, 8, 1000] {
            let datagram = udp(client, vip, &vec![0x55; length]);
            let outcome = bench.run(Hook::FromPod, &datagram).unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (REDIRECT, Some("no-backend"))
            );
            assert_eq!(outcome.bytes[..6], datagram[6..12], "back to the sender");
            let seen = see(&outcome.bytes);
            assert_eq!(
                (seen.source.ip(), seen.destination.ip()),
                (plan.vip, plan.pod)
            );
            assert_eq!(
                seen.icmp,
                Some(if plan.is_ipv6() { (1, 4) } else { (3, 3) })
            );
            assert_eq!(seen.quoted, Some((client, vip)));
        }
    }
}

#[test]
fn clients_outside_and_on_the_host_are_told_too() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench
            .service(id, unspecified(&plan, 30080), TCP, &[], FLAG_NODE_PORT)
            .unwrap();
        bench.service(id + 10, plan.vip(80), TCP, &[], 0).unwrap();
        let outside = tcp(plan.outside(4000), plan.node(30080), Tcp::Syn, b"");
        let host = tcp(plan.node(4000), plan.vip(80), Tcp::Syn, b"");
        for (hook, packet) in [(Hook::FromNet, outside), (Hook::ToNet, host)] {
            let outcome = bench.run(hook, &packet).unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (REDIRECT, Some("no-backend")),
                "{hook:?}"
            );
            let seen = see(&outcome.bytes);
            assert_eq!(seen.destination, see(&packet).source);
            assert!(seen.tcp.unwrap().rst);
        }
    }
}

#[test]
fn with_traffic_policy_local_and_nobody_here_packets_are_dropped() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let inside = FLAG_CLUSTER_IP | FLAG_INTERNAL_DROP;
        bench.service(id, plan.vip(80), TCP, &[], inside).unwrap();
        let outside = FLAG_NODE_PORT | FLAG_EXTERNAL_DROP;
        bench
            .service(id + 10, unspecified(&plan, 30080), TCP, &[], outside)
            .unwrap();
        for (hook, packet) in [
            (
                Hook::FromPod,
                tcp(plan.pod(4000), plan.vip(80), Tcp::Syn, b""),
            ),
            (
                Hook::FromNet,
                tcp(plan.outside(4000), plan.node(30080), Tcp::Syn, b""),
            ),
        ] {
            let outcome = bench.run(hook, &packet).unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (SHOT, Some("no-local-backend"))
            );
        }
    }
}

#[test]
fn a_promised_backend_that_is_missing_drops() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench
            .service(id, plan.vip(80), TCP, &[plan.neighbour(1)], 0)
            .unwrap();
        let slot = proxy_common::backends::SlotKey { set: id, index: 0 };
        bench
            .hash::<_, u32>("BACKEND_SLOTS")
            .unwrap()
            .remove(&slot)
            .unwrap();
        let outcome = bench
            .run(
                Hook::FromPod,
                &tcp(plan.pod(4000), plan.vip(80), Tcp::Syn, b""),
            )
            .unwrap();
        assert_eq!((outcome.action, outcome.drop), (SHOT, Some("backend-gone")));
    }
}

/// As with the kernel's own limit, each processor has its own.
#[test]
fn outsiders_are_told_so_often_in_a_second_and_pods_always() {
    const LIMIT: u32 = 1000;
    on_one_cpu();
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let any = unspecified(&plan, 30080);
        bench.service(id, any, TCP, &[], FLAG_NODE_PORT).unwrap();
        let asked = tcp(plan.outside(4000), plan.node(30080), Tcp::Syn, b"");
        let own = tcp(plan.pod(4000), plan.node(30080), Tcp::Syn, b"");
        // What a program does first is to be loaded.
        let other = udp(plan.outside(1), plan.node(1), b"");
        bench.run(Hook::FromNet, &other).unwrap();
        let is_told = || bench.put(Hook::FromNet, &asked).unwrap().0 == REDIRECT;
        while !is_told() {}
        // Seconds come and go: in one of them the limit is reached.
        let mut told = 1;
        while is_told() {
            told += 1;
            assert!(told < 1000 * LIMIT, "no limit");
        }
        assert!(told >= LIMIT, "{told}");
        let outcome = bench.run(Hook::FromPod, &own).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (REDIRECT, Some("no-backend"))
        );
    }
}

/// RFC 1122, 3.2.2; RFC 4443, 2.4: whoever is no single machine cannot have asked.
#[test]
fn nobody_is_told_who_cannot_have_asked() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let nobodies: &[&str] = if plan.is_ipv6() {
            &["::", "ff02::1", "ff0e::1234"]
        } else {
            &[
                "0.0.0.0",
                "0.1.2.3",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
            ]
        };
        let mut bench = Bench::new().unwrap();
        let any = unspecified(&plan, 30080);
        for (id, protocol) in [(id, TCP), (id + 10, UDP)] {
            bench
                .service(id, any, protocol, &[], FLAG_NODE_PORT)
                .unwrap();
            let packet = |from| match protocol {
                TCP => tcp(from, plan.node(30080), Tcp::Syn, b""),
                _ => udp(from, plan.node(30080), b"?"),
            };
            for nobody in nobodies {
                let from = SocketAddr::new(nobody.parse().unwrap(), 4000);
                let outcome = bench.run(Hook::FromNet, &packet(from)).unwrap();
                assert_eq!(
                    (outcome.action, outcome.drop),
                    (SHOT, Some("no-backend")),
                    "{nobody}"
                );
            }
            let outcome = bench
                .run(Hook::FromNet, &packet(plan.outside(4000)))
                .unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (REDIRECT, Some("no-backend"))
            );
        }
    }
}
