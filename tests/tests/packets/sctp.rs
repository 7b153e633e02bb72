//! SCTP to Services: associations, ports and the CRC over them.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
};

use proptest::{prelude::*, test_runner::TestRunner};
use proxy_common::address::SCTP;
use weir_tests::packets::{
    Bench, Chunk, FAMILIES, Hook, NEXT, Plan, REDIRECT, SHOT, V4, V6, fragments, sctp, sctp_crc,
    see,
};

/// The association of a pod with a Service, whose backend has another port.
struct Ends {
    client: SocketAddr,
    vip: SocketAddr,
    backend: SocketAddr,
}

fn ends(plan: &Plan) -> Ends {
    Ends {
        client: plan.pod(4000),
        vip: plan.vip(38412),
        backend: plan.neighbour(9000),
    }
}

fn served() -> Bench {
    let mut bench = Bench::new().unwrap();
    for (id, plan) in (1..).zip(FAMILIES) {
        let Ends { vip, backend, .. } = ends(&plan);
        bench.service(id, vip, SCTP, &[backend], 0).unwrap();
    }
    bench
}

fn transport(plan: &Plan) -> usize {
    if plan.is_ipv6() { 54 } else { 34 }
}

#[test]
fn an_association_with_a_service_is_turned_both_ways() {
    let mut bench = served();
    for plan in FAMILIES {
        let Ends {
            client,
            vip,
            backend,
        } = ends(&plan);
        let steps = [
            (Hook::FromPod, [client, vip], [client, backend], Chunk::Init),
            (
                Hook::FromNeighbour,
                [backend, client],
                [vip, client],
                Chunk::InitAck,
            ),
            (Hook::FromPod, [client, vip], [client, backend], Chunk::Data),
        ];
        for (hook, [from, to], turned, chunk) in steps {
            let packet = sctp(from, to, chunk, 100);
            let outcome = bench.run(hook, &packet).unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (REDIRECT, None),
                "{chunk:?}"
            );
            let seen = see(&outcome.bytes);
            assert_eq!([seen.source, seen.destination], turned, "{chunk:?}");
        }
    }
}

#[test]
fn only_what_opens_an_association_begins_one() {
    for plan in FAMILIES {
        let mut bench = served();
        let Ends { client, vip, .. } = ends(&plan);
        // The pod is told so.
        for chunk in [Chunk::Data, Chunk::InitAck] {
            let outcome = bench
                .run(Hook::FromPod, &sctp(client, vip, chunk, 16))
                .unwrap();
            assert_eq!(
                (outcome.action, outcome.drop),
                (REDIRECT, Some("no-flow")),
                "{chunk:?}"
            );
        }
        // Of somebody who has that address for other things.
        let answer = sctp(plan.outside(9), plan.vip(38412), Chunk::InitAck, 16);
        let outcome = bench.run(Hook::FromNet, &answer).unwrap();
        assert_eq!((outcome.action, outcome.bytes), (NEXT, answer));
    }
}

#[test]
fn an_association_stays_where_it_is_until_it_is_opened_again() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = served();
        let Ends {
            client,
            vip,
            backend,
        } = ends(&plan);
        let other = plan.neighbour(9001);
        let to = |bench: &mut Bench, chunk| {
            let packet = sctp(client, vip, chunk, 16);
            let outcome = bench.run(Hook::FromPod, &packet).unwrap();
            see(&outcome.bytes).destination
        };
        assert_eq!(to(&mut bench, Chunk::Init), backend);
        bench.remove_member(id, 0).unwrap();
        bench.service(id + 20, vip, SCTP, &[other], 0).unwrap();
        assert_eq!(to(&mut bench, Chunk::Data), backend);
        assert_eq!(to(&mut bench, Chunk::Init), other);
    }
}

#[test]
fn the_crc_of_any_packet_stays_as_right_or_wrong_as_it_was() {
    let (bench, ids) = (RefCell::new(served()), Cell::new(100));
    let ports = (1_u16..=u16::MAX, 1_u16..=u16::MAX);
    let packet = (0_usize..300, ports, any::<u32>(), any::<bool>());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&packet, |(quarter, (port, target), damage, ipv6)| {
            let plan = if ipv6 { V6 } else { V4 };
            let mut bench = bench.borrow_mut();
            let id = ids.replace(ids.get() + 1);
            let (vip, backend) = (plan.vip(port), plan.neighbour(target));
            bench.service(id, vip, SCTP, &[backend], 0).unwrap();
            let client = plan.pod(target);
            let crc = transport(&plan) + 8..transport(&plan) + 12;
            let mut packet = sctp(client, vip, Chunk::Init, 4 * quarter);
            let right = bench.run(Hook::FromPod, &packet).unwrap();
            prop_assert_eq!(see(&right.bytes).destination, backend);
            prop_assert_ne!(&right.bytes[crc.clone()], &[0; 4]);

            for (byte, damage) in packet[crc.clone()].iter_mut().zip(damage.to_ne_bytes()) {
                *byte ^= damage;
            }
            let was = packet[crc.clone()].to_vec();
            let outcome = bench.run(Hook::FromPod, &packet).unwrap();
            let right = sctp_crc(&outcome.bytes[transport(&plan)..]);
            let wrong = outcome.bytes[crc.clone()]
                .iter()
                .zip(right)
                .map(|(a, b)| a ^ b);
            let wrong: Vec<u8> = wrong.collect();
            if was == [0; 4] {
                prop_assert_eq!(&outcome.bytes[crc], &[0; 4], "the device's");
            } else {
                prop_assert_eq!(wrong, damage.to_ne_bytes());
            }
            bench.withdraw(vip, SCTP).unwrap();
            Ok(())
        })
        .unwrap();
}

/// The CRC covers what is in other fragments: that of a packet of which only a part is known cannot be told.
#[test]
fn a_fragment_passes_where_its_port_stays() {
    for plan in FAMILIES {
        let mut bench = served();
        let Ends { client, vip, .. } = ends(&plan);
        let same = plan.vip(9000);
        bench
            .service(9, same, SCTP, &[plan.neighbour(9000)], 0)
            .unwrap();
        for (to, expected) in [
            (same, (REDIRECT, None)),
            (vip, (SHOT, Some("rewrite-failed"))),
        ] {
            let whole = sctp(client, to, Chunk::Init, 1200);
            let [first, _] = fragments(&whole, 7);
            let outcome = bench.run(Hook::FromPod, &first).unwrap();
            assert_eq!((outcome.action, outcome.drop), expected, "to {to}");
        }
    }
}
