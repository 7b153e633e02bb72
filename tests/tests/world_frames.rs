//! Real frames: stacks of VLAN tags, types and hardware addresses of every kind, from a pod and from outside.
//!
//! The kernel looks at types, and takes tags off, before our programs and after them: the outermost one is beside the
//! bytes of the packet when they see it, and the stack takes off tags of priority alone without asking again.
//! `packets/frames.rs` shows what the programs make of tags that are in the bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use weir_tests::{
    frames::{
        Bed, SPOOFED, Stack, UNSUPPORTED, arp, is_hidden, is_of_priority, stacks, tagged, to, typed,
    },
    in_every_mode,
    link::LinkSocket,
    modes::Mode,
    packets::udp,
    world::cluster::POD_PORT,
};

in_every_mode![
    a_pods_frames_with_a_tag_are_dropped_whatever_is_below,
    a_pods_frames_of_other_types_are_dropped,
    a_pods_ip_and_arp_pass_whatever_address_the_frame_bears,
    frames_for_others_and_for_vlans_are_left_alone,
];

/// Source port of what must not arrive.
const LOST: u16 = 4000;
/// Source port of what may arrive or not.
const OPEN: u16 = 4001;
/// Source port of what arrives.
const FOUND: u16 = 4002;

/// Datagrams to the server, in both families: from the pod itself, and from another.
fn datagrams(bed: &Bed, port: u16) -> Vec<Vec<u8>> {
    let target = bed.server.at(POD_PORT);
    let sources = [bed.sender.at(port), bed.neighbour.at(port)];
    let pairs = sources
        .into_iter()
        .flat_map(|from| from.into_iter().zip(target));
    pairs.map(|(from, to)| udp(from, to, b"?")).collect()
}

fn a_pods_frames_with_a_tag_are_dropped_whatever_is_below(mode: Mode) {
    let bed = Bed::start(mode);
    let link = LinkSocket::open(&bed.sender, "eth0").unwrap();
    let datagrams = datagrams(&bed, LOST);
    let mut frames = bed.counted(UNSUPPORTED);
    for mac in bed.macs(bed.gateway()) {
        for datagram in &datagrams {
            let datagram = to(datagram, mac);
            frames.send(&link, stacks().map(|stack| tagged(&datagram, &stack)));
        }
    }
    frames.only();
    assert!(!bed.has_arrived(LOST));
}

fn a_pods_frames_of_other_types_are_dropped(mode: Mode) {
    let bed = Bed::start(mode);
    let link = LinkSocket::open(&bed.sender, "eth0").unwrap();
    let mut frames = bed.counted(UNSUPPORTED);
    for datagram in datagrams(&bed, LOST).iter().take(2) {
        let datagram = to(datagram, bed.gateway());
        let others = (0..=u16::MAX).filter(|kind| ![0x800, 0x806, 0x86dd].contains(kind));
        frames.send(&link, others.map(|kind| typed(&datagram, kind)));
    }
    frames.only();
    assert!(!bed.has_arrived(LOST));
}

fn a_pods_ip_and_arp_pass_whatever_address_the_frame_bears(mode: Mode) {
    let bed = Bed::start(mode);
    let link = LinkSocket::open(&bed.sender, "eth0").unwrap();
    let mut spoofed = bed.counted(SPOOFED);
    for mac in bed.macs(bed.gateway()) {
        let from_itself = |port| datagrams(&bed, port).into_iter().take(2);
        for datagram in from_itself(OPEN) {
            link.send(&to(&datagram, mac)).unwrap();
        }
        for operation in [1, 2] {
            link.send(&arp(link.mac(), mac, operation, bed.sender.ipv4()))
                .unwrap();
        }
        let from_another = datagrams(&bed, LOST).into_iter().skip(2);
        spoofed.send(&link, from_another.map(|datagram| to(&datagram, mac)));
    }
    for datagram in datagrams(&bed, FOUND).iter().take(2) {
        link.send(&to(datagram, bed.gateway())).unwrap();
    }
    bed.await_arrival(FOUND);
    spoofed.only();
    assert!(!bed.has_arrived(LOST));
}

fn send_all(link: &LinkSocket, frames: &[Vec<u8>]) {
    for frame in frames {
        link.send(frame).unwrap();
    }
}

fn frames_for_others_and_for_vlans_are_left_alone(mode: Mode) {
    let bed = Bed::start(mode);
    let link = bed.outside();
    let clients = bed.clients();
    let mut hidden = bed.counted(UNSUPPORTED);
    for mac in bed.macs(bed.mac()) {
        let is_own = mac == bed.mac();
        let frames = |stack: &Stack| {
            // The stack takes a single tag of VLAN 0 off, and may have what is below.
            let is_lost = !is_own || !is_of_priority(stack);
            let port = if is_lost { LOST } else { OPEN };
            let frames = bed.from_outside(clients, port).into_iter();
            let frames = frames.map(|frame| tagged(&to(&frame, mac), stack));
            frames.collect::<Vec<_>>()
        };
        for stack in stacks() {
            if is_own && is_hidden(&stack) {
                hidden.send(&link, frames(&stack));
            } else {
                send_all(&link, &frames(&stack));
            }
        }
        if !is_own {
            send_all(&link, &frames(&Stack::new()));
        }
    }
    for frame in bed.from_outside(clients, FOUND) {
        link.send(&to(&frame, bed.mac())).unwrap();
    }
    bed.await_arrival(FOUND);
    assert!(!bed.has_arrived(LOST));
    // What is left alone is not counted.
    hidden.only();
    assert_eq!(bed.flows_from(LOST), 0);
    assert!(bed.flows_from(FOUND) > 0);
}
