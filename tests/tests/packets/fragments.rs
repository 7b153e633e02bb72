//! Fragments: later ones go where the first one went.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use aya::Pod;
use proxy_common::{
    address::{Address4, Address6, UDP},
    fragments::{FragmentKey, FragmentPorts, period_before},
};
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

#[test]
fn an_identification_that_comes_again_later_names_another_datagram() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = Bench::new().unwrap();
        let (vip, backend) = (plan.vip(53), plan.neighbour(5353));
        bench.service(id, vip, UDP, &[backend], 0).unwrap();
        let [first, second] = fragments(&udp(plan.pod(4000), vip, &[0; 64]), 5);
        bench.run(Hook::FromPod, &first).unwrap();
        let known = bench.run(Hook::FromPod, &second).unwrap();
        assert_eq!((known.action, known.drop), (REDIRECT, None));
        forget::<Address4>(&mut bench, "FRAGMENTS4");
        forget::<Address6>(&mut bench, "FRAGMENTS6");
        let outcome = bench.run(Hook::FromPod, &second).unwrap();
        assert_eq!((outcome.action, outcome.drop), (SHOT, None), "held");
    }
}

/// Makes what is known of fragments a minute older.
fn forget<A>(bench: &mut Bench, name: &str)
where
    FragmentKey<A>: Pod,
{
    let mut known = bench.hash::<FragmentKey<A>, FragmentPorts>(name).unwrap();
    let all: Vec<_> = known.iter().map(Result::unwrap).collect();
    for (mut key, ports) in all {
        known.remove(&key).unwrap();
        key.protocol = period_before(period_before(key.protocol));
        known.insert(key, ports, 0).unwrap();
    }
}

#[test]
fn a_fragment_that_was_held_too_long_is_of_no_datagram_any_more() {
    for plan in FAMILIES {
        for (is_old, passes) in [(true, 0), (false, 1)] {
            let mut bench = Bench::new().unwrap();
            let datagram = udp(plan.pod(4000), plan.node(9), &[0; 64]);
            let [first, second] = fragments(&datagram, 6);
            let held = bench.run(Hook::FromPod, &second).unwrap();
            assert_eq!((held.action, held.drop), (SHOT, None));
            if is_old {
                forget_held(&mut bench);
            }
            let before = received(plan.is_ipv6());
            let outcome = bench.run(Hook::FromPod, &first).unwrap();
            assert_eq!((outcome.action, outcome.drop), (NEXT, None));
            let deadline = Instant::now() + Duration::from_secs(10);
            while received(plan.is_ipv6()) < before + passes && Instant::now() < deadline {
                sleep(Duration::from_millis(1));
            }
            assert_eq!(received(plan.is_ipv6()) - before, passes, "old: {is_old}");
        }
    }
}

/// A datagram as `HELD_DATAGRAMS` names it: the last word is protocol and period.
type Datagram = [u32; 11];
const PERIOD: usize = 10;
/// A slot of `HELD_FRAGMENTS`, of which the high half of this word is the last of the datagram.
type Held = [u64; 1159];
const WORD: usize = 6;

/// Makes held fragments a minute older.
fn forget_held(bench: &mut Bench) {
    // Of a slot that was never used the word is 0, of any other the protocol's number stands in it.
    let older = |period: u32| match period {
        0 => 0,
        _ => period_before(period_before(period)),
    };
    let mut all = bench.hash::<Datagram, u64>("HELD_DATAGRAMS").unwrap();
    let known: Vec<_> = all.iter().map(Result::unwrap).collect();
    for (mut datagram, slots) in known {
        all.remove(&datagram).unwrap();
        datagram[PERIOD] = older(datagram[PERIOD]);
        all.insert(datagram, slots, 0).unwrap();
    }
    let mut slots = bench.array::<Held>("HELD_FRAGMENTS").unwrap();
    for slot in 0..slots.len() {
        let mut held = slots.get(&slot, 0).unwrap();
        let period = older((held[WORD] >> 32) as u32);
        held[WORD] = u64::from(period) << 32 | held[WORD] & 0xffff_ffff;
        slots.set(slot, held, 0).unwrap();
    }
}

/// How many fragments this namespace's stack has received for itself.
fn received(ipv6: bool) -> u64 {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
    if ipv6 {
        let all = read("snmp6");
        let line = all.lines().find(|line| line.starts_with("Ip6ReasmReqds"));
        return line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
    }
    let all = read("snmp");
    let [names, values] = [0, 1].map(|number| {
        let line = all
            .lines()
            .filter(|line| line.starts_with("Ip:"))
            .nth(number);
        line.unwrap().split_whitespace()
    });
    let mut fields = names.zip(values);
    let (_, value) = fields.find(|(name, _)| *name == "ReasmReqds").unwrap();
    value.parse().unwrap()
}
