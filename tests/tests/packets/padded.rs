//! Frames that are longer than their packets: Ethernet has a least length, and some senders fill up with more.

use proxy_common::address::{TCP, UDP};
use weir_tests::packets::{Bench, FAMILIES, Hook, REDIRECT, Tcp, see, segment, tcp, udp};

/// Bytes after the packet, which are nobody's data.
const PADDING: [u8; 18] = [0xee; 18];

fn padded(packet: &[u8]) -> Vec<u8> {
    [packet, &PADDING].concat()
}

#[test]
fn what_is_turned_is_the_packet() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = Bench::new().unwrap();
        let (client, vip, backend) = (plan.pod(4000), plan.vip(53), plan.neighbour(5353));
        for (id, protocol) in [(id, UDP), (id + 10, TCP)] {
            bench.service(id, vip, protocol, &[backend], 0).unwrap();
            let packet = match protocol {
                UDP => udp(client, vip, b""),
                _ => tcp(client, vip, Tcp::Syn, b""),
            };
            let outcome = bench.run(Hook::FromPod, &padded(&packet)).unwrap();
            assert_eq!((outcome.action, outcome.drop), (REDIRECT, None));
            // Checksums are those of the packet alone.
            let (turned, rest) = outcome.bytes.split_at(packet.len());
            assert_eq!(
                (see(turned).source, see(turned).destination),
                (client, backend)
            );
            assert_eq!(rest, PADDING);
        }
    }
}

#[test]
fn a_refusal_counts_no_padding() {
    for (id, plan) in (1..).zip(FAMILIES) {
        let mut bench = Bench::new().unwrap();
        let (client, vip) = (plan.pod(4000), plan.vip(80));
        bench.service(id, vip, TCP, &[], 0).unwrap();
        let syn = tcp(client, vip, Tcp::Syn, b"");
        let outcome = bench.run(Hook::FromPod, &padded(&syn)).unwrap();
        assert_eq!(
            (outcome.action, outcome.drop),
            (REDIRECT, Some("no-backend"))
        );
        let reset = see(&outcome.bytes[..syn.len()]).tcp.unwrap();
        assert!(reset.rst);
        assert_eq!(
            reset.acknowledgment_number, 1001,
            "the SYN, and nothing else"
        );
        bench.service(id + 10, vip, UDP, &[], 0).unwrap();
        let datagram = udp(client, vip, b"");
        let [plain, filled] = [datagram.clone(), padded(&datagram)].map(|packet| {
            let outcome = bench.run(Hook::FromPod, &packet).unwrap();
            see(&outcome.bytes)
        });
        assert_eq!(plain, filled, "the error quotes the packet");
    }
}

#[test]
fn padding_is_no_data_that_takes_a_fin_back() {
    for plan in FAMILIES {
        let mut bench = Bench::new().unwrap();
        let (a, b) = (plan.pod(4000), plan.neighbour(80));
        let (forth, back) = (Hook::FromPod, Hook::FromNeighbour);
        bench.run(forth, &tcp(a, b, Tcp::Syn, b"")).unwrap();
        for (hook, packet) in [
            (back, segment(b, a, Tcp::SynAck, [500, 1001])),
            (forth, segment(a, b, Tcp::Ack, [1001, 501])),
            (forth, segment(a, b, Tcp::Fin, [1001, 501])),
            (back, segment(b, a, Tcp::Fin, [501, 1002])),
            (forth, segment(a, b, Tcp::Ack, [1002, 502])),
            (back, segment(b, a, Tcp::Ack, [502, 1002])),
        ] {
            bench.run(hook, &padded(&packet)).unwrap();
        }
        let flow = bench.flow(a, b, TCP).unwrap().unwrap();
        assert!(flow.facts.head.is_closed(), "{flow:?}");
    }
}
