//! Who outside says that he is this node or one of its pods is not believed, whatever VLAN tags and hardware addresses
//! his frames bear.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use weir_tests::{
    frames::{Bed, SPOOFED, Stack, stacks, tagged, to},
    in_every_mode,
    modes::Mode,
};

in_every_mode![nobody_outside_speaks_for_the_node_or_its_pods_below_whatever_tags];

/// Source port of what must not arrive.
const LOST: u16 = 4000;
/// Source port of what arrives.
const FOUND: u16 = 4002;
/// From this port on, one for each stack of tags: what must not arrive either.
const FORGED: u16 = 20000;

fn nobody_outside_speaks_for_the_node_or_its_pods_below_whatever_tags(mode: Mode) {
    let bed = Bed::start(mode);
    let link = bed.outside();
    let loopback = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap());
    let sources = [
        bed.neighbour.addresses(),
        bed.server.addresses(),
        bed.node().addresses(),
        loopback,
    ];
    let forged = |port| -> Vec<Vec<u8>> {
        let of_all = sources.iter();
        of_all
            .flat_map(|ips| bed.from_outside(*ips, port))
            .collect()
    };
    let mut spoofed = bed.counted(SPOOFED);
    spoofed.send(&link, forged(LOST).iter().map(|frame| to(frame, bed.mac())));
    // A port for each stack tells which of them arrives.
    let stacks: Vec<(u16, Stack)> = (FORGED..).zip(stacks()).collect();
    for mac in bed.macs(bed.mac()) {
        for (port, stack) in &stacks {
            for frame in forged(*port) {
                link.send(&tagged(&to(&frame, mac), stack)).unwrap();
            }
        }
    }
    for frame in bed.from_outside(bed.clients(), FOUND) {
        link.send(&to(&frame, bed.mac())).unwrap();
    }
    bed.await_arrival(FOUND);
    assert!(!bed.has_arrived(LOST));
    // What arrives may have been given one of these ports.
    let clients = bed.clients();
    let peers = |port| -> Vec<_> {
        let peers = bed.peers(port).into_iter();
        peers.filter(|peer| !clients.contains(&peer.ip())).collect()
    };
    let arrived = stacks.iter().map(|(port, stack)| (stack, peers(*port)));
    let arrived: Vec<_> = arrived.filter(|(_, peers)| !peers.is_empty()).collect();
    assert!(
        arrived.is_empty(),
        "below {} stacks: {arrived:x?}",
        arrived.len()
    );
}
