//! Fragments: later ones go where the first one went.

use proxy_common::address::UDP;
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, REDIRECT, SHOT, fragments, see, udp};

#[test]
fn later_fragments_follow_the_first_through_a_service() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let (client, vip, backend) = (plan.pod(4000), plan.vip(53), plan.neighbour(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        let datagram = udp(client, vip, &[0x77; 200]);
        let [first, second] = fragments(&datagram, 5);
        let mut whole = Vec::new();
        for fragment in [&first, &second] {
            let outcome = bench.run(Hook::FromPod, fragment).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
            let (source, destination) = addresses(&outcome.bytes);
            assert_eq!((source, destination), (plan.pod, plan.neighbour));
            assert_eq!(outcome.bytes.len(), fragment.len());
            let header = 14 + if plan.is_ipv6() { 48 } else { 20 };
            whole.extend_from_slice(&outcome.bytes[header..]);
        }
        // Put together again, the datagram has the right ports and checksum.
        let expected = udp(client, backend, &[0x77; 200]);
        let header = 14 + if plan.is_ipv6() { 40 } else { 20 };
        assert_eq!(whole, expected[header..]);
        let echo = see(&expected);
        assert_eq!(echo.destination, backend);
    }
}

fn addresses(bytes: &[u8]) -> (std::net::IpAddr, std::net::IpAddr) {
    let seen = etherparse::LaxPacketHeaders::from_ethernet(bytes).unwrap();
    match seen.net.unwrap() {
        etherparse::NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            (ip.source.into(), ip.destination.into())
        }
        etherparse::NetHeaders::Ipv6(ip, _) => (ip.source.into(), ip.destination.into()),
        etherparse::NetHeaders::Arp(_) => panic!("an ARP packet"),
    }
}

#[test]
fn later_fragments_wait_for_the_first() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench
            .service(id, plan.vip(53), UDP, &[plan.neighbour(5353)], 0)
            .unwrap();
        for to in [plan.vip(53), plan.neighbour(2)] {
            let [first, second] = fragments(&udp(plan.pod(1), to, &[0; 64]), 6);
            let held = bench.run(Hook::FromPod, &second).unwrap();
            assert_eq!((held.action, held.drop), (SHOT, None), "held, not dropped");
            // The program puts the held one in its place for a moment.
            let outcome = bench.run(Hook::FromPod, &first).unwrap();
            let expected = bench.run(Hook::FromPod, &first).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
            assert_eq!(outcome, expected);
            let passes = bench.run(Hook::FromPod, &second).unwrap();
            assert_eq!((passes.action, passes.drop), (REDIRECT, None));
        }
    }
}

#[test]
fn later_fragments_from_outside_wait_for_the_first() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let [first, second] = fragments(&udp(plan.outside(1), plan.pod(2), &[0; 64]), 6);
        let held = bench.run(Hook::FromNet, &second).unwrap();
        assert_eq!((held.action, held.drop), (SHOT, None));
        let outcome = bench.run(Hook::FromNet, &first).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        // It may be for a socket of the node.
        let [_, to_node] = fragments(&udp(plan.outside(1), plan.node(2), &[0; 64]), 6);
        assert_eq!(bench.run(Hook::FromNet, &to_node).unwrap().action, NEXT);
        let [_, forged] = fragments(&udp(plan.neighbour(1), plan.pod(2), &[0; 64]), 6);
        let outcome = bench.run(Hook::FromNet, &forged).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (SHOT, Some("spoofed-source"))
        );
    }
}

#[test]
fn a_pod_cannot_say_where_fragments_of_another_go() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench
            .service(id, plan.vip(53), UDP, &[plan.neighbour(5353)], 0)
            .unwrap();
        let [forged, _] = fragments(&udp(plan.pod(4000), plan.vip(53), &[0; 64]), 7);
        let outcome = bench.run(Hook::FromNeighbour, &forged).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (SHOT, Some("spoofed-source"))
        );
        let [_, second] = fragments(&udp(plan.pod(4000), plan.vip(9), &[0; 64]), 7);
        let outcome = bench.run(Hook::FromPod, &second).unwrap();
        assert_eq!((outcome.action, outcome.drop), (SHOT, None), "held");
    }
}
