//! How flows live and end: half-open ones, resets, backends that go, Services that come.

use std::net::SocketAddr;

use proxy_common::{
    address::{TCP, UDP},
    conntrack::{FLOW_ASSURED, Timeouts},
    frontends::FLAG_NODE_PORT,
    node::NodeConfig,
};
use weir_tests::packets::{
    Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, SHOT, Tcp, see, segment, tcp, udp,
};

/// Seconds that the flow of a packet still lives, against the one that began a moment ago.
fn life(bench: &mut Bench, from: SocketAddr, to: SocketAddr, protocol: u8) -> u32 {
    bench
        .flow(from, to, protocol)
        .unwrap()
        .unwrap()
        .facts
        .expires
}

#[test]
fn the_servers_answer_alone_makes_no_connection() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let (client, server) = (plan.outside(4000), plan.pod(80));
        bench
            .run(Hook::FromNet, &tcp(client, server, Tcp::Syn, b""))
            .unwrap();
        let begun = life(&mut bench, client, server, TCP);
        for _ in 0..3 {
            let answer = tcp(server, client, Tcp::SynAck, b"");
            bench.run(Hook::FromPod, &answer).unwrap();
            bench
                .run(Hook::FromNet, &tcp(client, server, Tcp::Syn, b""))
                .unwrap();
        }
        let half = bench.flow(client, server, TCP).unwrap().unwrap();
        assert_eq!(half.flags() & FLOW_ASSURED, 0);
        assert!(half.facts.expires <= begun + 2, "a minute, no more");
        bench
            .run(Hook::FromNet, &tcp(client, server, Tcp::Ack, b""))
            .unwrap();
        assert!(life(&mut bench, client, server, TCP) > begun + 80_000);
    }
}

#[test]
fn datagrams_both_ways_live_longer_than_one_exchange() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        let (client, server) = (plan.pod(4000), plan.neighbour(53));
        bench
            .run(Hook::FromPod, &udp(client, server, b"?"))
            .unwrap();
        let begun = life(&mut bench, client, server, UDP);
        bench
            .run(Hook::FromNeighbour, &udp(server, client, b"!"))
            .unwrap();
        assert!(life(&mut bench, client, server, UDP) <= begun + 1, "30 s");
        bench
            .run(Hook::FromPod, &udp(client, server, b"?"))
            .unwrap();
        let stream = life(&mut bench, client, server, UDP);
        assert!(
            (begun + 89..=begun + 91).contains(&stream),
            "120 s: {begun} {stream}"
        );
    }
}

#[test]
fn time_outs_are_the_nodes() {
    let mut bench = Bench::new().unwrap();
    let mut configs = bench.array::<NodeConfig>("NODE_CONFIG").unwrap();
    let config = configs.get(&0, 0).unwrap();
    let timeouts = Timeouts {
        udp: 5,
        udp_stream: 1000,
        ..Timeouts::default()
    };
    configs
        .set(0, NodeConfig { timeouts, ..config }, 0)
        .unwrap();
    let plan = FAMILIES[0];
    let (client, server) = (plan.pod(4000), plan.neighbour(53));
    bench
        .run(Hook::FromPod, &udp(client, server, b"?"))
        .unwrap();
    let begun = life(&mut bench, client, server, UDP);
    bench
        .run(Hook::FromNeighbour, &udp(server, client, b"!"))
        .unwrap();
    bench
        .run(Hook::FromPod, &udp(client, server, b"?"))
        .unwrap();
    let stream = life(&mut bench, client, server, UDP);
    assert!(
        (begun + 994..=begun + 996).contains(&stream),
        "{begun} {stream}"
    );
}

/// An established connection between two pods, both of which have acknowledged this.
fn established(bench: &mut Bench, plan: &Plan, number: u32) -> [SocketAddr; 2] {
    let (client, server) = (plan.pod(4000), plan.neighbour(80));
    bench
        .run(Hook::FromPod, &tcp(client, server, Tcp::Syn, b""))
        .unwrap();
    let answer = segment(server, client, Tcp::SynAck, [number, number]);
    bench.run(Hook::FromNeighbour, &answer).unwrap();
    let third = segment(client, server, Tcp::Ack, [number, number]);
    bench.run(Hook::FromPod, &third).unwrap();
    [client, server]
}

/// As [`established`], with the hooks by which both ends send.
fn ends(bench: &mut Bench, plan: &Plan, number: u32) -> [(Hook, SocketAddr, SocketAddr); 2] {
    let [client, server] = established(bench, plan, number);
    [
        (Hook::FromPod, client, server),
        (Hook::FromNeighbour, server, client),
    ]
}

/// How a connection begins that has acknowledged these numbers: somewhere, and around the end of all numbers.
const NUMBERS: [u32; 2] = [1000, 0xffff_f000];

#[test]
fn a_reset_that_is_not_exact_ends_nothing() {
    for plan in FAMILIES {
        for number in NUMBERS {
            let mut bench = Bench::new().unwrap();
            let ends = ends(&mut bench, &plan, number);
            let (_, client, server) = ends[0];
            let before = life(&mut bench, client, server, TCP);
            // Blindly, at a place in each of 1024 parts but for that of the connection.
            for part in 1..1023_u32 {
                for (hook, from, to) in ends {
                    let sequence = number.wrapping_add(part << 22);
                    let forged = segment(from, to, Tcp::Rst, [sequence, 0]);
                    bench.run(hook, &forged).unwrap();
                }
                let after = life(&mut bench, client, server, TCP);
                assert!(after >= before, "{part}: {before} {after}");
            }
        }
    }
}

#[test]
fn an_exact_reset_ends_it_unless_an_end_speaks_on() {
    for plan in FAMILIES {
        for number in NUMBERS {
            for distance in [0, 4000] {
                let mut bench = Bench::new().unwrap();
                let ends = ends(&mut bench, &plan, number);
                let (_, client, server) = ends[0];
                let before = life(&mut bench, client, server, TCP);
                for (hook, from, to) in ends {
                    let sequence = number.wrapping_add(distance);
                    let reset = segment(from, to, Tcp::Rst, [sequence, 0]);
                    // Whoever takes it for forged asks; what was on its way does no harm, as a reset answers it.
                    for (other, from, to) in ends {
                        bench.run(hook, &reset).unwrap();
                        let closed = life(&mut bench, client, server, TCP);
                        assert!(closed < before - 80_000, "{distance}: {before} {closed}");
                        let speaks = segment(from, to, Tcp::Ack, [number, number]);
                        bench.run(other, &speaks).unwrap();
                        assert!(life(&mut bench, client, server, TCP) >= before);
                    }
                }
            }
        }
    }
}

#[test]
fn a_reset_is_exact_however_fast_the_connection_is() {
    for plan in FAMILIES {
        let mut bench = Bench::new().unwrap();
        let [(_, client, server), (back, ..)] = ends(&mut bench, &plan, 1000);
        let before = life(&mut bench, client, server, TCP);
        // 3 GB, all within a second.
        let mut number = 1000_u32;
        for _ in 0..3000 {
            number = number.wrapping_add(1 << 20);
            let all = segment(server, client, Tcp::Ack, [1000, number]);
            bench.run(back, &all).unwrap();
        }
        let reset = segment(client, server, Tcp::Rst, [number, 0]);
        bench.run(Hook::FromPod, &reset).unwrap();
        let closed = life(&mut bench, client, server, TCP);
        assert!(closed < before - 80_000, "{before} {closed}");
    }
}

#[test]
fn a_fin_counts_where_its_receiver_acknowledges_it() {
    for plan in FAMILIES {
        for number in NUMBERS {
            let mut bench = Bench::new().unwrap();
            let ends = ends(&mut bench, &plan, number);
            let (_, client, server) = ends[0];
            let before = life(&mut bench, client, server, TCP);
            for distance in [1, 1 << 10, 1 << 24, 1 << 31, 3 << 30] {
                for (hook, from, to) in ends {
                    let sequence = number.wrapping_add(distance);
                    let forged = segment(from, to, Tcp::Fin, [sequence, number]);
                    bench.run(hook, &forged).unwrap();
                }
                // Each says that it knows of no such thing.
                for (hook, from, to) in ends {
                    let answer = segment(from, to, Tcp::Ack, [number, number]);
                    bench.run(hook, &answer).unwrap();
                }
                let after = life(&mut bench, client, server, TCP);
                assert!(after >= before, "{distance:#x}: {before} {after}");
            }
        }
    }
}

#[test]
fn an_end_that_sends_on_takes_its_fin_back() {
    for plan in FAMILIES {
        let mut bench = Bench::new().unwrap();
        let ends = ends(&mut bench, &plan, 1000);
        let (_, client, server) = ends[0];
        let before = life(&mut bench, client, server, TCP);
        for (hook, from, to) in ends {
            let fin = segment(from, to, Tcp::Fin, [1000, 1000]);
            bench.run(hook, &fin).unwrap();
        }
        for (hook, from, to) in ends {
            let last = segment(from, to, Tcp::Ack, [1001, 1001]);
            bench.run(hook, &last).unwrap();
        }
        assert!(
            life(&mut bench, client, server, TCP) < before - 80_000,
            "closed"
        );
        for (left, (hook, from, to)) in [3590, 80_000].into_iter().zip(ends) {
            let more = tcp(from, to, Tcp::Ack, b"more");
            bench.run(hook, &more).unwrap();
            let after = life(&mut bench, client, server, TCP);
            assert!(after > before - 86_400 + left, "{before} {after}");
        }
    }
}

/// What netfilter's names stand for, and how long a connection lives then.
#[test]
fn time_outs_of_connections_are_the_nodes() {
    let mut bench = Bench::new().unwrap();
    let mut configs = bench.array::<NodeConfig>("NODE_CONFIG").unwrap();
    let config = configs.get(&0, 0).unwrap();
    let timeouts = Timeouts {
        tcp_established: 5000,
        tcp_close_wait: 700,
        ..Timeouts::default()
    };
    configs
        .set(0, NodeConfig { timeouts, ..config }, 0)
        .unwrap();
    for plan in FAMILIES {
        let client = plan.pod(4000);
        bench
            .run(
                Hook::FromPod,
                &tcp(client, plan.neighbour(81), Tcp::Syn, b""),
            )
            .unwrap();
        let begun = life(&mut bench, client, plan.neighbour(81), TCP);
        let [(fore, client, server), (back, ..)] = ends(&mut bench, &plan, 1000);
        let lives = |bench: &mut Bench, seconds: u32| {
            let expires = life(bench, client, server, TCP) + 60;
            let right = begun + seconds - 1..=begun + seconds + 2;
            assert!(right.contains(&expires), "{seconds}: {begun} {expires}");
        };
        lives(&mut bench, 5000);
        let fin = segment(client, server, Tcp::Fin, [1000, 1000]);
        bench.run(fore, &fin).unwrap();
        lives(&mut bench, 700);
        for (acknowledged, seconds) in [(1000, 5000), (1001, 700)] {
            let answer = segment(server, client, Tcp::Ack, [1000, acknowledged]);
            bench.run(back, &answer).unwrap();
            lives(&mut bench, seconds);
        }
    }
}

#[test]
fn a_syn_leaves_a_backend_that_serves_no_more() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = Bench::new().unwrap();
        let (client, vip) = (plan.pod(4000), plan.vip(80));
        let (gone, left) = (plan.remote_pod(8080), plan.neighbour(8080));
        bench.service(id, vip, TCP, &[gone], 0).unwrap();
        let to = |bench: &mut Bench, what| {
            let outcome = bench
                .run(Hook::FromPod, &tcp(client, vip, what, b""))
                .unwrap();
            see(&outcome.bytes).destination
        };
        assert_eq!(to(&mut bench, Tcp::Syn), gone);
        bench
            .run(Hook::FromNet, &tcp(gone, client, Tcp::SynAck, b""))
            .unwrap();
        assert_eq!(to(&mut bench, Tcp::Ack), gone);
        bench.remove_member(id, 0).unwrap();
        assert_eq!(
            to(&mut bench, Tcp::Ack),
            gone,
            "a connection stays where it is"
        );
        assert_eq!(to(&mut bench, Tcp::Fin), gone);
        bench.service(id + 20, vip, TCP, &[left], 0).unwrap();
        assert_eq!(to(&mut bench, Tcp::Syn), left, "the port is used again");
    }
}

#[test]
fn a_flow_begun_before_its_service_is_translated_once_that_is_there() {
    for (id, plan) in (1..).zip(FAMILIES) {
        for protocol in [TCP, UDP] {
            let mut bench = Bench::new().unwrap();
            let (client, address) = (plan.pod(4000), SocketAddr::new(plan.outside, 8053));
            let packet = || match protocol {
                TCP => tcp(client, address, Tcp::Syn, b""),
                _ => udp(client, address, b"?"),
            };
            let outcome = bench.run(Hook::FromPod, &packet()).unwrap();
            assert_eq!(
                (outcome.action, see(&outcome.bytes).destination),
                (NEXT, address)
            );
            let backend = plan.neighbour(8080);
            bench.service(id, address, protocol, &[backend], 0).unwrap();
            let outcome = bench.run(Hook::FromPod, &packet()).unwrap();
            assert_eq!(see(&outcome.bytes).destination, backend);
            assert!(bench.flow(address, client, protocol).unwrap().is_none());
        }
    }
}

#[test]
fn nothing_but_a_syn_begins_a_connection_to_a_frontend() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = Bench::new().unwrap();
        let any: SocketAddr = if plan.is_ipv6() {
            "[::]:30080"
        } else {
            "0.0.0.0:30080"
        }
        .parse()
        .unwrap();
        bench
            .service(id, any, TCP, &[plan.remote_pod(8080)], FLAG_NODE_PORT)
            .unwrap();
        bench
            .service(id + 10, plan.vip(80), TCP, &[plan.remote_pod(8080)], 0)
            .unwrap();
        let (outside, frontend) = (plan.outside(4000), plan.node(30080));
        for flags in 0..=255_u8 {
            let [fin, syn, rst, ack] = [1, 2, 4, 16].map(|bit| flags & bit != 0);
            let opens = syn && !ack && !rst;
            let packet = with_flags(tcp(outside, frontend, Tcp::Ack, b""), flags, plan.is_ipv6());
            let outcome = bench.run(Hook::FromNet, &packet).unwrap();
            let expected = if opens { REDIRECT } else { NEXT };
            assert_eq!(outcome.action, expected, "{flags:#b} {fin}");
            if opens {
                bench.end([outside, frontend], TCP).unwrap();
            }
            // Of a pod, what belongs to no connection is refused, but for resets.
            let packet = with_flags(
                tcp(plan.pod(4000), plan.vip(80), Tcp::Ack, b""),
                flags,
                plan.is_ipv6(),
            );
            let outcome = bench.run(Hook::FromPod, &packet).unwrap();
            let expected = if opens || !rst { REDIRECT } else { SHOT };
            assert_eq!(outcome.action, expected, "{flags:#b}");
            assert_eq!(outcome.drop, (!opens).then_some("no-flow"));
            if opens {
                bench.end([plan.pod(4000), plan.vip(80)], TCP).unwrap();
            }
        }
    }
}

/// A segment with other flags; no program reads its checksum.
fn with_flags(mut packet: Vec<u8>, flags: u8, ipv6: bool) -> Vec<u8> {
    packet[if ipv6 { 54 } else { 34 } + 13] = flags;
    packet
}
