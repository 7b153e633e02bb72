//! Where new flows find room: who has to give way, and who has not.

use std::net::SocketAddr;

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use proxy_common::address::{TCP, UDP};
use weir_tests::packets::{Bench, FAMILIES, Hook, Tcp, tcp, udp};

const SLOTS: u16 = 96;

/// Each CPU has its own cursor, which decides what is looked at, and other things of its own: there must be one only.
pub(crate) fn on_one_cpu() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).unwrap();
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap());
    let mut one = CpuSet::new();
    one.set(first.unwrap()).unwrap();
    sched_setaffinity(this, &one).unwrap();
}

/// A flow of a pod that nobody has answered, as its packets make it.
fn begin(bench: &mut Bench, [from, to]: [SocketAddr; 2], protocol: u8) {
    let packet = match protocol {
        TCP => tcp(from, to, Tcp::Syn, b""),
        _ => udp(from, to, b"?"),
    };
    bench.run(Hook::FromPod, &packet).unwrap();
}

/// Flows that are not answered yet are in a row of slots, and all others are free: whoever begins passes them by.
#[test]
fn nobody_gives_way_while_a_free_slot_is_in_sight() {
    on_one_cpu();
    for plan in FAMILIES {
        for protocol in [TCP, UDP] {
            for row in [1, 7, 8, 9, 31, 60] {
                let mut bench = Bench::with_slots(SLOTS.into()).unwrap();
                let ends = |port| [plan.pod(port), plan.neighbour(80)];
                for port in 0..SLOTS {
                    begin(&mut bench, ends(1000 + port), protocol);
                }
                for port in 0..SLOTS {
                    let ends = ends(1000 + port);
                    if port < row {
                        // Its last packet is some seconds old: it waits for an answer.
                        bench.age(ends, protocol, 5).unwrap();
                    } else {
                        bench.end(ends, protocol).unwrap();
                    }
                }
                for port in 0..SLOTS - row {
                    begin(&mut bench, ends(2000 + port), protocol);
                }
                for port in 1000..1000 + row {
                    let [from, to] = ends(port);
                    let flow = bench.flow(from, to, protocol).unwrap();
                    assert!(flow.is_some(), "{from} of {row} has given way");
                }
                for port in 2000..2000 + SLOTS - row {
                    let [from, to] = ends(port);
                    assert!(bench.flow(from, to, protocol).unwrap().is_some());
                }
            }
        }
    }
}

/// Where nothing is free, each flow that begins takes the place of one that waits for its answer, again and again.
#[test]
fn a_flood_takes_from_itself() {
    on_one_cpu();
    for plan in FAMILIES {
        let mut bench = Bench::with_slots(SLOTS.into()).unwrap();
        let ends = |port| [plan.pod(port), plan.neighbour(80)];
        for port in 1000..1000 + 3 * SLOTS {
            begin(&mut bench, ends(port), UDP);
            let [from, to] = ends(port);
            let flow = bench.flow(from, to, UDP).unwrap();
            assert!(flow.is_some(), "{from} found no room");
            bench.age(ends(port), UDP, 5).unwrap();
        }
    }
}
