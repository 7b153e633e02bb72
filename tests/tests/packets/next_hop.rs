//! The way out of the node is remembered for a second, and for no other packet than one like it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use etherparse::Ipv4Header;
use proxy_common::address::UDP;
use weir_tests::packets::{Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, Tcp, see, tcp, udp};

/// Sends a packet with so much in it to a pod of another node.
fn send(bench: &mut Bench, plan: &Plan, payload: usize) -> i32 {
    let (from, to) = (plan.pod(4000), plan.remote_pod(80));
    let packet = tcp(from, to, Tcp::Ack, &vec![0; payload]);
    let outcome = bench.run(Hook::FromPod, &packet).unwrap();
    assert_eq!(outcome.drop, None);
    if outcome.action == REDIRECT {
        assert_eq!(see(&outcome.bytes).hops, 63);
    }
    outcome.action
}

#[test]
fn what_is_too_big_for_a_remembered_way_goes_to_the_stack() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        assert_eq!(send(&mut bench, &plan, 0), REDIRECT);
        assert_eq!(send(&mut bench, &plan, 1000), REDIRECT);
        assert_eq!(send(&mut bench, &plan, 1600), NEXT);
        assert_eq!(send(&mut bench, &plan, 0), REDIRECT);
    }
}

/// IPv4 lets a sender leave that to routers; all others are told.
#[test]
fn the_stack_cuts_a_turned_packet_of_a_pod_that_may_be_cut() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = Bench::new().unwrap();
        let (client, vip, backend) = (plan.pod(4000), plan.vip(53), plan.remote_pod(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        let mut packet = udp(client, vip, &[0x77; 1600]);
        let told = bench.run(Hook::FromPod, &packet).unwrap();
        assert_eq!((told.action, told.drop), (REDIRECT, Some("too-big")));
        if plan.is_ipv6() {
            continue;
        }
        let (mut ip, _) = Ipv4Header::from_slice(&packet[14..]).unwrap();
        ip.dont_fragment = false;
        ip.header_checksum = ip.calc_header_checksum();
        packet.splice(14..34, ip.to_bytes());
        let cut = bench.run(Hook::FromPod, &packet).unwrap();
        assert_eq!((cut.action, cut.drop), (NEXT, None));
        let seen = see(&cut.bytes);
        assert_eq!((seen.source, seen.destination), (client, backend));
        assert_eq!(seen.hops, 64, "the stack forwards it");
    }
}

#[test]
fn a_removed_route_is_not_followed_for_long() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        assert_eq!(send(&mut bench, &plan, 0), REDIRECT);
        let range = if plan.is_ipv6() {
            "fd00:2::/64"
        } else {
            "10.2.0.0/24"
        };
        let removed = Command::new("ip").args(["route", "del", range]).status();
        assert!(removed.unwrap().success());
        let began = Instant::now();
        while send(&mut bench, &plan, 0) == REDIRECT {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn another_destination_is_asked_for_anew() {
    let mut bench = Bench::new().unwrap();
    for plan in FAMILIES {
        assert_eq!(send(&mut bench, &plan, 0), REDIRECT);
        // Nobody told the node where these are.
        for host in 1..=200 {
            let nowhere = match plan.remote_pod {
                std::net::IpAddr::V4(_) => format!("203.0.113.{host}").parse(),
                std::net::IpAddr::V6(_) => format!("2001:db8::{host}").parse(),
            };
            let nowhere = nowhere.unwrap();
            bench
                .peer(nowhere, 0, proxy_common::policy::peers::PEER_POD)
                .unwrap();
            let to = std::net::SocketAddr::new(nowhere, 80);
            let packet = tcp(plan.pod(4000), to, Tcp::Syn, b"");
            assert_eq!(bench.run(Hook::FromPod, &packet).unwrap().action, NEXT);
        }
        assert_eq!(send(&mut bench, &plan, 0), REDIRECT);
    }
}
