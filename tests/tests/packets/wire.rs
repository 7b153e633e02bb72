//! XDP at a link: what comes from outside for backends elsewhere, its answers, and what goes up as it came.

use std::net::SocketAddr;

use proxy_common::{
    address::{SCTP, TCP, UDP},
    conntrack::{FLOW_FIN_0, FLOW_FIN_1, FLOW_SOURCE_TRANSLATED},
    counters::{XDP_ACROSS, XDP_BACK, XDP_UP},
    frontends::{FLAG_EXTERNAL_IP, FLAG_LOAD_BALANCER, FLAG_NODE_PORT, FLAG_SOURCES},
};
use weir_tests::packets::{
    BACK, Bench, Chunk, FAMILIES, Hook, NEXT, Outcome, Plan, REDIRECT, SHOT, Tcp, V4, V6,
    error_about, fragments, ping, sctp, see, tcp, udp, with_options,
};

/// Hardware address of the node's link.
const LINK: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// That of somebody outside.
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

const PROTOCOLS: [u8; 3] = [TCP, UDP, SCTP];

fn bench() -> Bench {
    let mut bench = Bench::new().unwrap();
    bench.link("net0", [V4.node, V6.node]).unwrap();
    bench
}

fn packet(protocol: u8, from: SocketAddr, to: SocketAddr, what: Tcp) -> Vec<u8> {
    match protocol {
        TCP => tcp(from, to, what, b""),
        SCTP => {
            let chunk = match what {
                Tcp::Syn => Chunk::Init,
                Tcp::SynAck => Chunk::InitAck,
                _ => Chunk::Data,
            };
            sctp(from, to, chunk, 16)
        }
        _ => udp(from, to, b"data"),
    }
}

/// Frontends of every kind that is for outsiders: where they are asked, where they are written, with what flags.
fn frontends(plan: &Plan) -> [(SocketAddr, SocketAddr, u32); 3] {
    let any = if plan.is_ipv6() { "[::]" } else { "0.0.0.0" };
    let any = format!("{any}:30080").parse().unwrap();
    [
        (plan.node(30080), any, FLAG_NODE_PORT),
        (plan.vip(80), plan.vip(80), FLAG_LOAD_BALANCER),
        (plan.vip(81), plan.vip(81), FLAG_EXTERNAL_IP),
    ]
}

fn served(bench: &mut Bench, plan: &Plan, protocol: u8, backend: SocketAddr) {
    let family = u32::from(plan.is_ipv6());
    for (number, (_, at, flags)) in (1..).zip(frontends(plan)) {
        let id = number + 10 * family + 100 * u32::from(protocol);
        bench.service(id, at, protocol, &[backend], flags).unwrap();
    }
}

fn wire(bench: &mut Bench, packet: &[u8]) -> Outcome {
    bench.run(Hook::FromWire, packet).unwrap()
}

/// It went up, and not a byte of it has changed.
fn is_untouched(outcome: &Outcome, packet: &[u8]) -> bool {
    (outcome.action, outcome.drop) == (NEXT, None) && outcome.bytes == packet
}

#[test]
fn what_is_for_a_backend_elsewhere_and_its_answers_leave_at_once() {
    for protocol in PROTOCOLS {
        let mut bench = bench();
        for plan in FAMILIES {
            let backend = plan.remote_pod(8080);
            served(&mut bench, &plan, protocol, backend);
            for (port, (frontend, _, _)) in (4000..).zip(frontends(&plan)) {
                let client = plan.outside(port);
                let outcome = wire(&mut bench, &packet(protocol, client, frontend, Tcp::Syn));
                assert_eq!((outcome.action, outcome.drop), (BACK, None), "{frontend}");
                let seen = see(&outcome.bytes);
                let ours = seen.source;
                assert_eq!((ours.ip(), seen.destination), (plan.node, backend));
                assert_eq!(seen.hops, 63);
                assert_eq!(outcome.bytes[..12], [OUTSIDE, LINK].concat());
                let flow = bench.flow(backend, ours, protocol).unwrap().unwrap();
                assert!(flow.flags() & FLOW_SOURCE_TRANSLATED != 0);

                let answer = packet(protocol, backend, ours, Tcp::SynAck);
                let outcome = wire(&mut bench, &answer);
                assert_eq!((outcome.action, outcome.drop), (BACK, None), "{frontend}");
                let seen = see(&outcome.bytes);
                assert_eq!((seen.source, seen.destination), (frontend, client));

                let again = packet(protocol, client, frontend, Tcp::Ack);
                let outcome = wire(&mut bench, &again);
                assert_eq!((outcome.action, see(&outcome.bytes).source), (BACK, ours));
            }
        }
    }
}

#[test]
fn a_flow_is_the_same_for_both_hooks() {
    for (first, second) in [
        (Hook::FromWire, Hook::FromNet),
        (Hook::FromNet, Hook::FromWire),
    ] {
        let away = |hook| {
            if hook == Hook::FromWire {
                BACK
            } else {
                REDIRECT
            }
        };
        for protocol in PROTOCOLS {
            let mut bench = bench();
            for plan in FAMILIES {
                let (client, frontend) = (plan.outside(4000), plan.node(30080));
                let backend = plan.remote_pod(8080);
                served(&mut bench, &plan, protocol, backend);
                let run = |bench: &mut Bench, hook, from, to, what| {
                    let outcome = bench.run(hook, &packet(protocol, from, to, what)).unwrap();
                    assert_eq!((outcome.action, outcome.drop), (away(hook), None));
                    see(&outcome.bytes)
                };
                let ours = run(&mut bench, first, client, frontend, Tcp::Syn).source;
                let seen = run(&mut bench, second, backend, ours, Tcp::SynAck);
                assert_eq!((seen.source, seen.destination), (frontend, client));
                for hook in [first, second] {
                    let seen = run(&mut bench, hook, client, frontend, Tcp::Ack);
                    assert_eq!((seen.source, seen.destination), (ours, backend));
                    let seen = run(&mut bench, hook, backend, ours, Tcp::Ack);
                    assert_eq!((seen.source, seen.destination), (frontend, client));
                }
            }
        }
    }
}

/// What opens and closes at once is nobody's way to begin; it begins where it is judged first.
#[test]
fn a_flow_is_not_half_closed_by_what_began_it() {
    let mut bench = bench();
    for plan in FAMILIES {
        let (client, frontend) = (plan.outside(4000), plan.node(30080));
        served(&mut bench, &plan, TCP, plan.pod(8080));
        let mut opening = packet(TCP, client, frontend, Tcp::Syn);
        opening[if plan.is_ipv6() { 54 } else { 34 } + 13] |= 1;
        let outcome = wire(&mut bench, &opening);
        assert!(is_untouched(&outcome, &opening), "{outcome:?}");
        assert!(bench.flow(client, frontend, TCP).unwrap().is_none());
        let outcome = bench.run(Hook::FromNet, &opening).unwrap();
        assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
        let begun = bench.flow(client, frontend, TCP).unwrap().unwrap();
        assert_eq!(begun.flags() & (FLOW_FIN_0 | FLOW_FIN_1), 0, "{begun:?}");
    }
}

#[test]
fn a_flow_that_ends_here_begins_in_xdp_and_is_followed_by_tc() {
    for protocol in PROTOCOLS {
        let mut bench = bench();
        for plan in FAMILIES {
            let (client, frontend) = (plan.outside(4000), plan.node(30080));
            let backend = plan.pod(8080);
            served(&mut bench, &plan, protocol, backend);
            let opening = packet(protocol, client, frontend, Tcp::Syn);
            let outcome = wire(&mut bench, &opening);
            assert!(is_untouched(&outcome, &opening), "{outcome:?}");
            let begun = bench.flow(client, frontend, protocol).unwrap().unwrap();
            assert_eq!(begun.target(), (client, backend));
            let outcome = bench.run(Hook::FromNet, &opening).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
            assert_eq!(see(&outcome.bytes).destination, backend);
            let followed = bench.flow(client, frontend, protocol).unwrap().unwrap();
            assert_eq!(followed.slot, begun.slot);
            for packet in [packet(protocol, client, frontend, Tcp::Ack), opening] {
                let outcome = wire(&mut bench, &packet);
                assert!(is_untouched(&outcome, &packet), "{outcome:?}");
            }
        }
    }
}

/// Packets of a client to a frontend that are not for XDP, by what makes them so.
fn kinds(plan: &Plan, client: SocketAddr, frontend: SocketAddr) -> Vec<(&'static str, Vec<u8>)> {
    let syn = tcp(client, frontend, Tcp::Syn, b"");
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = syn.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let hops = |hops| {
        let mut bytes = syn.clone();
        if plan.is_ipv6() {
            bytes[21] = hops;
        } else {
            let (mut ip, _) = etherparse::Ipv4Header::from_slice(&bytes[14..]).unwrap();
            ip.time_to_live = hops;
            ip.header_checksum = ip.calc_header_checksum();
            bytes[14..34].copy_from_slice(&ip.to_bytes());
        }
        bytes
    };
    let [first, later] = fragments(&udp(client, frontend, &[7; 64]), 9);
    let unknown = tcp(plan.outside(4999), frontend, Tcp::Ack, b"");
    let mut kinds = vec![
        ("options", with_options(&syn)),
        ("a first fragment", first),
        ("a later fragment", later),
        ("for another machine", changed(0, &[2, 0, 0, 0, 0, 7])),
        ("for all", changed(0, &[0xff; 6])),
        ("one hop", hops(1)),
        ("no hops", hops(0)),
        ("of no flow", unknown),
        ("an echo", ping(client.ip(), frontend.ip(), 7, false)),
        (
            "an error",
            error_about(client.ip(), frontend.ip(), &syn, true),
        ),
        (
            "to no frontend",
            tcp(client, plan.node(30081), Tcp::Syn, b""),
        ),
        ("of another type", changed(12, &[0x08, 0x06])),
        ("cut short", syn[..14 + 20].to_vec()),
        ("an unfinished checksum", unfinished(&syn)),
        (
            "a CRC to be made",
            without_crc(sctp(client, frontend, Chunk::Init, 16)),
        ),
        ("too big", udp(client, frontend, &[7; 1500])),
    ];
    for tag in [[0x81, 0], [0x88, 0xa8]] {
        let mut tagged = syn.clone();
        tagged.splice(12..12, [tag[0], tag[1], 0, 5]);
        kinds.push(("a tag", tagged));
    }
    kinds
}

/// As a sender leaves it that trusts its device.
fn without_crc(mut packet: Vec<u8>) -> Vec<u8> {
    let at = if packet[12] == 0x86 { 54 } else { 34 } + 8;
    packet[at..at + 4].fill(0);
    packet
}

/// With the sum of the pseudo header in its checksum's place, as a sender leaves it that trusts its device.
fn unfinished(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let (addresses, transport) = if packet[12] == 0x86 {
        (22..54, 54)
    } else {
        (26..34, 34)
    };
    let length = u16::try_from(packet.len() - transport).unwrap();
    let halves = bytes[addresses].chunks(2);
    let sum: u32 = halves
        .map(|h| u32::from(u16::from_be_bytes([h[0], h[1]])))
        .sum();
    let mut sum = sum + u32::from(TCP) + u32::from(length);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = u16::try_from(sum).unwrap();
    bytes[transport + 16..transport + 18].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn what_is_not_for_xdp_goes_up_as_it_came() {
    for plan in FAMILIES {
        let (client, frontend) = (plan.outside(4000), plan.node(30080));
        let mut bench = bench();
        for protocol in PROTOCOLS {
            served(&mut bench, &plan, protocol, plan.remote_pod(8080));
        }
        let goes_up = |bench: &mut Bench, flow: &str| {
            for (kind, packet) in kinds(&plan, client, frontend) {
                let outcome = wire(bench, &packet);
                assert!(
                    is_untouched(&outcome, &packet),
                    "{flow} flow, {kind}: {outcome:?}"
                );
            }
        };
        goes_up(&mut bench, "no");
        // A flow that is known changes nothing.
        for protocol in PROTOCOLS {
            let opening = packet(protocol, client, frontend, Tcp::Syn);
            assert_eq!(wire(&mut bench, &opening).action, BACK);
        }
        goes_up(&mut bench, "a known");
    }
}

#[test]
fn who_has_no_way_is_left_to_tc() {
    for plan in FAMILIES {
        let mut bench = bench();
        let nowhere = if plan.is_ipv6() {
            "[2001:db8::1]:80"
        } else {
            "203.0.113.1:80"
        };
        // On the link, but nobody has ever heard of it.
        let unresolved = SocketAddr::new(plan.second, 80);
        for backend in [nowhere.parse().unwrap(), unresolved] {
            served(&mut bench, &plan, TCP, backend);
            let (client, frontend) = (plan.outside(backend.port() + 4000), plan.node(30080));
            let syn = tcp(client, frontend, Tcp::Syn, b"");
            let outcome = wire(&mut bench, &syn);
            assert!(is_untouched(&outcome, &syn), "{backend}: {outcome:?}");
            assert!(bench.flow(client, frontend, TCP).unwrap().is_some());
            bench.end_all().unwrap();
        }
    }
}

#[test]
fn drops_are_those_of_tc() {
    for hook in [Hook::FromWire, Hook::FromNet] {
        for plan in FAMILIES {
            let mut bench = bench();
            let backend = plan.remote_pod(8080);
            served(&mut bench, &plan, TCP, backend);
            let restricted = plan.vip(90);
            let flags = FLAG_LOAD_BALANCER | FLAG_SOURCES;
            bench
                .service(90, restricted, TCP, &[backend], flags)
                .unwrap();
            let frontend = plan.node(30080);
            for (from, to, why) in [
                (plan.node(4000), frontend, "spoofed-source"),
                (plan.pod(4000), frontend, "spoofed-source"),
                (plan.outside(4000), restricted, "source-range"),
            ] {
                let outcome = bench.run(hook, &tcp(from, to, Tcp::Syn, b"")).unwrap();
                assert_eq!(
                    (outcome.action, outcome.drop),
                    (SHOT, Some(why)),
                    "{hook:?}"
                );
            }
        }
    }
}

#[test]
fn by_another_link_only_if_that_takes_frames() {
    for takes in [false, true] {
        for plan in FAMILIES {
            let mut bench = bench();
            let whole = if plan.is_ipv6() { 128 } else { 32 };
            let to = plan.remote_pod;
            let lines = format!(
                "neighbour add {to} lladdr 02:00:00:00:00:77 dev pod2\nroute add {to}/{whole} dev pod2\n"
            );
            bench.ip(&lines).unwrap();
            if takes {
                bench.link("pod2", [V4.second, V6.second]).unwrap();
            }
            served(&mut bench, &plan, TCP, plan.remote_pod(8080));
            let syn = tcp(plan.outside(4000), plan.node(30080), Tcp::Syn, b"");
            let outcome = wire(&mut bench, &syn);
            if takes {
                assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
                assert_eq!(outcome.bytes[..6], [2, 0, 0, 0, 0, 0x77]);
                see(&outcome.bytes);
            } else {
                assert!(is_untouched(&outcome, &syn), "{outcome:?}");
            }
        }
    }
}

#[test]
fn every_frame_is_counted() {
    let mut bench = bench();
    let plan = V4;
    served(&mut bench, &plan, TCP, plan.remote_pod(8080));
    let syn = tcp(plan.outside(4000), plan.node(30080), Tcp::Syn, b"");
    for packet in [syn.clone(), ping(plan.outside, plan.node, 7, false), syn] {
        wire(&mut bench, &packet);
    }
    let counted = [XDP_BACK, XDP_ACROSS, XDP_UP].map(|verdict| bench.counted(verdict).unwrap());
    assert_eq!(counted[..2], [2, 0]);
    // The other end of the link says a word or two by itself.
    assert!(counted[2] >= 1, "{counted:?}");
}
