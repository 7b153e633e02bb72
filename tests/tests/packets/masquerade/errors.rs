//! ICMP errors and fragments of what is masqueraded.

use std::net::IpAddr;

use proxy_common::address::UDP;
use weir_tests::packets::{
    Bench, FAMILIES, Hook, NEXT, Plan, REDIRECT, Seen, error_about, fragments, ping, see, udp,
};

use super::{ALL, Carries, went};

const ROUTER: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

fn router(plan: &Plan) -> IpAddr {
    ROUTER[usize::from(plan.is_ipv6())].parse().unwrap()
}

/// The identifier of a quoted echo.
fn quoted_identifier(bytes: &[u8], ipv6: bool) -> u16 {
    let header = if ipv6 { 40 } else { 20 };
    let at = 14 + header + 8 + header + 4;
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[test]
fn errors_about_what_was_sent_reach_the_pod_whoever_sends_them() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        for carries in ALL {
            let (pod, server) = (plan.pod(4000), plan.outside(carries.port(443)));
            let asked = carries.asks(pod, server);
            let sent = bench.run(Hook::FromPod, &asked).unwrap().bytes;
            for (from, too_big) in [(server.ip(), false), (router(&plan), true)] {
                let error = error_about(from, plan.node, &sent, too_big);
                let outcome = bench.run(Hook::FromNet, &error).unwrap();
                let what = format!("{carries:?} from {from}");
                went(&outcome, REDIRECT, &what);
                let seen = see(&outcome.bytes);
                assert_eq!((seen.source.ip(), seen.destination.ip()), (from, plan.pod));
                quotes(&seen, &outcome.bytes, &asked, carries, &what);
            }
        }
    }
}

/// Quotes this packet: its addresses and ports or identifier.
fn quotes(seen: &Seen, bytes: &[u8], packet: &[u8], carries: Carries, what: &str) {
    let (from, to) = carries.ends(packet, false);
    let (quoted_from, quoted_to) = seen.quoted.unwrap();
    assert_eq!(
        (quoted_from.ip(), quoted_to.ip()),
        (from.ip(), to.ip()),
        "{what}"
    );
    if carries == Carries::Echo {
        let identifier = quoted_identifier(bytes, from.is_ipv6());
        assert_eq!(identifier, from.port(), "{what}");
    } else {
        assert_eq!((quoted_from, quoted_to), (from, to), "{what}");
    }
}

#[test]
fn errors_of_the_pod_about_answers_are_the_nodes() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        for carries in [Carries::Udp, Carries::Sctp] {
            let (pod, server) = (plan.pod(4000), plan.outside(443));
            let sent = bench
                .run(Hook::FromPod, &carries.asks(pod, server))
                .unwrap();
            let (ours, _) = carries.ends(&sent.bytes, false);
            let answer = carries.answers(server, ours);
            let got = bench.run(Hook::FromNet, &answer).unwrap().bytes;
            let error = error_about(plan.pod, server.ip(), &got, false);
            let outcome = bench.run(Hook::FromPod, &error).unwrap();
            went(&outcome, REDIRECT, "an error");
            let seen = see(&outcome.bytes);
            assert_eq!(
                (seen.source.ip(), seen.destination.ip()),
                (plan.node, server.ip())
            );
            assert_eq!(seen.quoted, Some((server, ours)), "{carries:?}");
        }
    }
}

/// About a packet that nobody sent, or not to there.
#[test]
fn made_up_errors_do_not_reach_pods() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let (pod, server) = (plan.pod(4000), plan.outside(443));
        let asked = Carries::Udp.asks(pod, server);
        let sent = bench.run(Hook::FromPod, &asked).unwrap().bytes;
        let (ours, _) = Carries::Udp.ends(&sent, false);
        for quoted in [
            Carries::Udp.asks(ours, plan.outside(444)),
            Carries::Udp.asks(plan.node(ours.port() ^ 1), server),
            Carries::Tcp.asks(ours, server),
        ] {
            let error = error_about(router(&plan), plan.node, &quoted, true);
            let outcome = bench.run(Hook::FromNet, &error).unwrap();
            assert_eq!((outcome.action, outcome.bytes), (NEXT, error));
        }
    }
}

#[test]
fn fragments_pass_both_ways() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let (pod, server) = (plan.pod(4000), plan.outside(53));
        let [first, second] = fragments(&udp(pod, server, &[7; 96]), 9);
        let sent = bench.run(Hook::FromPod, &first).unwrap();
        went(&sent, REDIRECT, "the first");
        let forth = bench.run(Hook::FromPod, &second).unwrap();
        went(&forth, REDIRECT, "the second");
        let (source, _) = ends(&forth.bytes, plan.is_ipv6());
        assert_eq!(source, plan.node);
        let flow = bench.flow(pod, server, UDP).unwrap().unwrap();
        let (ours, _) = flow.target();
        for late in [false, true] {
            let mut pieces = fragments(&udp(server, ours, &[8; 96]), 20 + u16::from(late));
            if late {
                pieces.reverse();
                // Of what may be the host's a copy is held.
                let outcome = bench.run(Hook::FromNet, &pieces[0]).unwrap();
                assert_eq!((outcome.action, outcome.drop), (NEXT, None));
                went(
                    &bench.run(Hook::FromNet, &pieces[1]).unwrap(),
                    REDIRECT,
                    "the first",
                );
                continue;
            }
            for piece in &pieces {
                let outcome = bench.run(Hook::FromNet, piece).unwrap();
                went(&outcome, REDIRECT, "an answer");
                let (_, destination) = ends(&outcome.bytes, plan.is_ipv6());
                assert_eq!(destination, plan.pod);
            }
        }
    }
}

#[test]
fn fragments_of_an_echo_pass_both_ways() {
    let mut bench = Bench::masquerading().unwrap();
    for plan in FAMILIES {
        let mut request = ping(plan.pod, plan.outside, 7, false);
        let [first, second] = fragments(&long(&mut request), 9);
        let sent = bench.run(Hook::FromPod, &first).unwrap();
        went(&sent, REDIRECT, "the first");
        let header = 14 + if plan.is_ipv6() { 48 } else { 20 };
        let identifier = &sent.bytes[header + 4..header + 6];
        let identifier = u16::from_be_bytes([identifier[0], identifier[1]]);
        assert!(super::is_of_node(identifier));
        went(
            &bench.run(Hook::FromPod, &second).unwrap(),
            REDIRECT,
            "the second",
        );
        let mut reply = ping(plan.outside, plan.node, identifier, true);
        for piece in fragments(&long(&mut reply), 10) {
            let outcome = bench.run(Hook::FromNet, &piece).unwrap();
            went(&outcome, REDIRECT, "a reply");
            let (_, destination) = ends(&outcome.bytes, plan.is_ipv6());
            assert_eq!(destination, plan.pod);
        }
    }
}

/// The same with more to carry; nobody looks at its checksum.
fn long(echo: &mut Vec<u8>) -> Vec<u8> {
    echo.resize(echo.len() + 84, 7);
    let is_ipv6 = echo[12..14] == [0x86, 0xdd];
    let (at, header) = if is_ipv6 { (18, 54) } else { (16, 14) };
    let length = u16::try_from(echo.len() - header).unwrap();
    echo[at..at + 2].copy_from_slice(&length.to_be_bytes());
    echo.clone()
}

fn ends(bytes: &[u8], ipv6: bool) -> (IpAddr, IpAddr) {
    let seen = etherparse::LaxPacketHeaders::from_ethernet(bytes).unwrap();
    match seen.net.unwrap() {
        etherparse::NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            (ip.source.into(), ip.destination.into())
        }
        etherparse::NetHeaders::Ipv6(ip, _) => {
            assert!(ipv6);
            (ip.source.into(), ip.destination.into())
        }
        etherparse::NetHeaders::Arp(_) => panic!("an ARP packet"),
    }
}
