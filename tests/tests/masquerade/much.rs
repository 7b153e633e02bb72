//! Large downloads and many connections, from nodes behind routers that know no pods.

use std::net::SocketAddr;

use weir_tests::{
    carried::{Direction, carry},
    length::steps,
    short::connections,
    world::Cluster,
};

use super::bed::{Bed, MODES};

/// First port of servers of these tests.
const FIRST: u16 = 9000;
/// Ports of the short connections: those that are closed are kept for each of them.
const PORTS: u16 = 8;

/// Behind a router, with tables of their usual size.
fn routed(name: &str, mode: &[&str]) -> Bed {
    Bed::on(Cluster::start_routed(name, &["a", "b"], mode).unwrap())
}

/// The smallest way that IPv6 has: a gigabyte each way in the long form.
#[test]
fn a_gigabyte_passes_a_narrow_way() {
    for mode in MODES {
        let bed = routed("gigabyte", mode);
        bed.internet.narrow(1280).unwrap();
        for direction in [Direction::Down, Direction::Up] {
            for at in bed.internet.at(FIRST) {
                let count = steps(8_000_000, 1_000_000_000);
                carry(&bed.pod, (bed.internet.place(), at), direction, count)
                    .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
            }
        }
        bed.is_tight();
    }
}

/// Two pods, whose ports and the node's are used again and again: a million in the long form.
#[test]
fn of_a_million_short_connections_none_is_lost() {
    for (mode, long) in MODES.into_iter().zip([1_000_000, 100_000]) {
        let bed = routed("million", mode);
        let ports = FIRST..FIRST + PORTS;
        let at: Vec<SocketAddr> = ports.flat_map(|port| bed.internet.at(port)).collect();
        let server = (bed.internet.place(), at.as_slice());
        connections(&[&bed.pod, &bed.other], server, steps(20_000, long))
            .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
        bed.is_tight();
    }
}
