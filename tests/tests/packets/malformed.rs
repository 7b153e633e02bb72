//! Cut and contradictory packets never pass a pod's interface, and never leave translated by half.

use proxy_common::address::{TCP, UDP};
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, SHOT, Tcp, error_about, tcp, udp};

#[test]
fn packets_cut_at_every_length_are_dropped() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench
            .service(id, plan.vip(80), TCP, &[plan.neighbour(8080)], 0)
            .unwrap();
        bench
            .service(id + 10, plan.vip(80), UDP, &[plan.neighbour(8080)], 0)
            .unwrap();
        let sent = udp(plan.neighbour(1), plan.pod(2), b"something");
        for whole in [
            tcp(plan.pod(4000), plan.vip(80), Tcp::Syn, b"payload"),
            udp(plan.pod(4000), plan.vip(80), b"payload"),
            error_about(plan.pod, plan.neighbour, &sent, false),
        ] {
            let headers = 14 + if plan.is_ipv6() { 40 } else { 20 };
            for length in 15..whole.len() {
                let Some(outcome) = bench.try_run(Hook::FromPod, &whole[..length]).unwrap() else {
                    assert!(length < headers, "the kernel takes {length} bytes");
                    continue;
                };
                let verdict = (outcome.action, outcome.drop);
                assert_eq!(verdict, (SHOT, Some("invalid-packet")), "{length} bytes");
                for hook in [Hook::ToPod, Hook::FromNet] {
                    let outcome = bench.run(hook, &whole[..length]).unwrap();
                    assert_eq!(outcome.action, SHOT, "{hook:?} {length} bytes");
                }
                assert_eq!(
                    bench.run(Hook::ToNet, &whole[..length]).unwrap().action,
                    NEXT
                );
            }
        }
    }
}

#[test]
fn headers_cut_within_a_consistent_ip_packet_are_dropped() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let whole = tcp(plan.pod(4000), plan.neighbour(80), Tcp::Syn, b"");
        let header = 14 + if plan.is_ipv6() { 40 } else { 20 };
        for kept in 0..14 {
            let mut cut = whole[..header + kept].to_vec();
            let (at, length) = if plan.is_ipv6() {
                (18, kept)
            } else {
                (16, 20 + kept)
            };
            let length = u16::try_from(length).unwrap().to_be_bytes();
            cut[at..at + 2].copy_from_slice(&length);
            // A frame is padded to 60 bytes on a wire; the padding is no header.
            let outcome = bench.run(Hook::FromPod, &cut).unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (SHOT, Some("invalid-packet")),
                "{kept}"
            );
        }
    }
}

#[test]
fn contradictions_are_dropped() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let whole = tcp(plan.pod(4000), plan.neighbour(80), Tcp::Syn, b"");
        let transport = 14 + if plan.is_ipv6() { 40 } else { 20 };
        let mut cases = vec![(14, 0x25), (14, 0x05), (transport + 12, 0x40)];
        if !plan.is_ipv6() {
            cases.extend([(14, 0x44), (16, 0xff)]);
        }
        for (at, value) in cases {
            let mut broken = whole.clone();
            broken[at] = value;
            let outcome = bench.run(Hook::FromPod, &broken).unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (SHOT, Some("invalid-packet")),
                "{at}"
            );
        }
    }
}

#[test]
fn a_chain_of_extension_headers_is_followed_eight_far() {
    let mut bench = Bench::new().unwrap();
    let plan = weir_tests::packets::V6;
    let whole = udp(plan.pod(4000), plan.neighbour(53), b"?");
    for (headers, drop) in [(1, None), (8, None), (9, Some("extension-headers"))] {
        let mut packet = whole[..54].to_vec();
        packet[20] = 60;
        for left in (0..headers).rev() {
            packet.extend([if left == 0 { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        packet.extend_from_slice(&whole[54..]);
        let length = u16::try_from(packet.len() - 54).unwrap();
        packet[18..20].copy_from_slice(&length.to_be_bytes());
        let outcome = bench.run(Hook::FromPod, &packet).unwrap();
        assert_eq!(outcome.drop, drop, "{headers} headers");
        let tracked = bench.flow(plan.pod(4000), plan.neighbour(53), UDP).unwrap();
        assert!(tracked.is_some());
    }
}
