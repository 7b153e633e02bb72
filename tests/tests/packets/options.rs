//! IPv4 options and IPv6 extension headers before the transport: translated like any packet, none of them changed.

use weir_tests::packets::{Bench, FAMILIES, Hook, REDIRECT, Tcp, see, tcp, udp, with_options};

use proxy_common::address::{TCP, UDP};

#[test]
fn packets_with_options_are_translated_both_ways() {
    for protocol in [TCP, UDP] {
        let mut bench = Bench::new().unwrap();
        for (id, plan) in (1..).zip(FAMILIES) {
            let (client, vip, backend) = (plan.pod(4000), plan.vip(80), plan.neighbour(8080));
            bench.service(id, vip, protocol, &[backend], 0).unwrap();
            let packet = |from, to, what| match protocol {
                TCP => with_options(&tcp(from, to, what, b"data")),
                _ => with_options(&udp(from, to, b"data")),
            };
            for (hook, (from, to, what), expected) in [
                (Hook::FromPod, (client, vip, Tcp::Syn), (client, backend)),
                (
                    Hook::FromNeighbour,
                    (backend, client, Tcp::SynAck),
                    (vip, client),
                ),
                (Hook::FromPod, (client, vip, Tcp::Ack), (client, backend)),
            ] {
                let sent = packet(from, to, what);
                let outcome = bench.run(hook, &sent).unwrap();
                assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
                let seen = see(&outcome.bytes);
                assert_eq!((seen.source, seen.destination), expected);
                // The options come out as they went in.
                let options = if plan.is_ipv6() { 54..62 } else { 34..38 };
                assert_eq!(outcome.bytes[options.clone()], sent[options]);
                assert_eq!(outcome.bytes.len(), sent.len());
            }
        }
    }
}
