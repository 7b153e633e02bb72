//! What the link layer says: types, VLAN tags, and whose address a frame bears.

use std::net::{IpAddr, SocketAddr};

use proxy_common::{address::TCP, frontends::FLAG_EXTERNAL_IP, host::POD_GATEWAY_IPV4};
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, SHOT, Tcp, tcp, udp};

/// Hardware address of the plan's pods, of their gateways, and of whoever sends a test's frames.
const POD_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The frame with tags between its addresses and its type: tag protocol and VLAN of each, the outermost first.
fn tagged(frame: &[u8], tags: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = frame[..12].to_vec();
    for (protocol, vlan) in tags {
        bytes.extend_from_slice(&protocol.to_be_bytes());
        bytes.extend_from_slice(&vlan.to_be_bytes());
    }
    bytes.extend_from_slice(&frame[12..]);
    bytes
}

/// Stacks of tags, as deep as three, of both tag protocols, of priority and of a VLAN.
fn stacks() -> Vec<Vec<(u16, u16)>> {
    let tags = [(0x8100, 0), (0x8100, 7), (0x88a8, 0), (0x88a8, 7)];
    let mut stacks: Vec<Vec<(u16, u16)>> = tags.iter().map(|tag| vec![*tag]).collect();
    for outer in tags {
        for inner in tags {
            stacks.push(vec![outer, inner]);
            stacks.push(vec![outer, inner, (0x8100, 0)]);
        }
    }
    stacks
}

#[test]
fn a_pod_sends_ip_and_arp_and_no_tag_whatever_is_below() {
    let mut bench = Bench::new().unwrap();
    let refused = (SHOT, Some("unsupported-frame"));
    for plan in FAMILIES {
        let datagram = udp(plan.pod(4000), plan.neighbour(53), b"?");
        let forged = udp(plan.neighbour(4000), plan.pod(53), b"?");
        for frame in [&datagram, &forged] {
            for stack in stacks() {
                let outcome = bench.run(Hook::FromPod, &tagged(frame, &stack)).unwrap();
                assert_eq!((outcome.action, outcome.drop), refused, "{stack:?}");
            }
            // Slow protocols, MACsec, PPPoE, MPLS, LLDP, Ethernet over itself, lengths of 802.3.
            for kind in [
                0x8809_u16, 0x88e5, 0x8864, 0x8847, 0x88cc, 0x6558, 0x0040, 0x0805,
            ] {
                let mut other = frame.clone();
                other[12..14].copy_from_slice(&kind.to_be_bytes());
                let outcome = bench.run(Hook::FromPod, &other).unwrap();
                assert_eq!((outcome.action, outcome.drop), refused, "{kind:#x}");
            }
        }
    }
}

fn arp(operation: u16, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = [[0xff; 6], SENDER].concat();
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4]);
    frame.extend_from_slice(&operation.to_be_bytes());
    frame.extend_from_slice(&SENDER);
    frame.extend_from_slice(&sender);
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&target);
    frame
}

#[test]
fn whoever_in_a_pod_asks_for_its_gateway_is_answered() {
    let mut bench = Bench::new().unwrap();
    let IpAddr::V4(pod) = FAMILIES[0].pod else {
        panic!("the first plan is that of IPv4");
    };
    let outcome = bench
        .run(Hook::FromPod, &arp(1, pod.octets(), POD_GATEWAY_IPV4))
        .unwrap();
    assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
    let answer = &outcome.bytes;
    assert_eq!((&answer[..6], &answer[6..12]), (&SENDER[..], &HOST_MAC[..]));
    assert_eq!(answer[20..22], [0, 2], "a reply");
    assert_eq!(answer[22..28], HOST_MAC);
    assert_eq!(answer[28..32], POD_GATEWAY_IPV4);
    assert_eq!(
        (&answer[32..38], &answer[38..42]),
        (&SENDER[..], &pod.octets()[..])
    );
    for (operation, target) in [(2, POD_GATEWAY_IPV4), (1, pod.octets()), (1, [10, 1, 0, 3])] {
        let other = arp(operation, pod.octets(), target);
        let outcome = bench.run(Hook::FromPod, &other).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, other));
    }
}

/// From whom, by which hook, and to what address packets come to the plan's pod.
fn ways(plan: &Plan) -> Vec<(Hook, SocketAddr, SocketAddr)> {
    vec![
        (Hook::FromNeighbour, plan.neighbour(4000), plan.pod(8080)),
        (Hook::FromNeighbour, plan.neighbour(4001), plan.vip(80)),
        (Hook::FromPod, plan.pod(4002), plan.vip(80)),
        (Hook::FromNet, plan.outside(4003), plan.pod(8080)),
        (Hook::FromNet, plan.outside(4004), plan.vip(80)),
    ]
}

#[test]
fn every_frame_that_a_pod_gets_bears_its_own_address() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let kind = FLAG_EXTERNAL_IP;
        bench
            .service(id, plan.vip(80), TCP, &[plan.pod(8080)], kind)
            .unwrap();
        for (hook, from, to) in ways(&plan) {
            for what in [Tcp::Syn, Tcp::Ack] {
                let outcome = bench.run(hook, &tcp(from, to, what, b"")).unwrap();
                assert_eq!((outcome.action, outcome.drop), (REDIRECT, None), "{hook:?}");
                assert_eq!(
                    (&outcome.bytes[..6], &outcome.bytes[6..12]),
                    (&POD_MAC[..], &HOST_MAC[..]),
                    "{hook:?} {from} > {to}"
                );
            }
        }
    }
}

#[test]
fn frames_for_others_and_for_many_are_left_alone() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench
            .service(id, plan.vip(80), TCP, &[plan.pod(8080)], FLAG_EXTERNAL_IP)
            .unwrap();
        for to in [plan.vip(80), plan.pod(8080)] {
            for mac in [
                [2, 0, 0, 0, 0, 0x99],
                [0xff; 6],
                [1, 0, 0x5e, 0, 0, 1],
                [0x33, 0x33, 0, 0, 0, 1],
            ] {
                let mut syn = tcp(plan.outside(4000), to, Tcp::Syn, b"");
                syn[..6].copy_from_slice(&mac);
                let outcome = bench.run(Hook::FromNet, &syn).unwrap();
                assert_eq!((outcome.action, outcome.bytes), (NEXT, syn), "{mac:?}");
                assert!(bench.flow(plan.outside(4000), to, TCP).unwrap().is_none());
            }
        }
    }
}

#[test]
fn nobody_outside_speaks_for_this_node_or_its_pods() {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        bench
            .service(id, plan.vip(80), TCP, &[plan.pod(8080)], FLAG_EXTERNAL_IP)
            .unwrap();
        // A flow of the neighbour's that stands already does not vouch for it.
        let open = tcp(plan.neighbour(4000), plan.pod(8080), Tcp::Syn, b"");
        assert_eq!(
            bench.run(Hook::FromNeighbour, &open).unwrap().action,
            REDIRECT
        );
        for from in [
            plan.neighbour(4000),
            plan.pod(4001),
            plan.node(4002),
            plan.loopback_at(4003),
        ] {
            for (to, what) in [
                (plan.pod(8080), Tcp::Syn),
                (plan.pod(8080), Tcp::Ack),
                (plan.vip(80), Tcp::Syn),
            ] {
                let outcome = bench.run(Hook::FromNet, &tcp(from, to, what, b"")).unwrap();
                assert_eq!(
                    (outcome.action, outcome.drop),
                    (SHOT, Some("spoofed-source")),
                    "{from} > {to} {what:?}"
                );
            }
        }
    }
}
