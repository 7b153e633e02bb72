//! Datagrams in fragments, which arrive in every order, through Services, to `NodePort`s and to pods: from a pod and from
//! outside.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use proptest::{
    prelude::RngExt as _,
    test_runner::{RngAlgorithm, TestRng},
};
use weir_tests::{
    frames::{Bed, NODE_PORT, to},
    in_every_mode, length,
    link::LinkSocket,
    modes::Mode,
    packets::{pieces, udp},
    world::{
        cluster::{POD_PORT, SERVICE_PORT},
        until,
    },
};

in_every_mode![
    fragments_in_every_order_arrive_as_one_datagram,
    fragments_of_many_datagrams_arrive_mixed,
    fragments_without_a_first_one_go_nowhere,
];

const PATIENCE: Duration = Duration::from_secs(10);
/// Source ports of datagrams.
const PORTS: u16 = 20_000;
/// Fragments of a datagram.
const PIECES: usize = 4;

/// A datagram of its own port and number, in fragments.
fn cut(from: SocketAddr, to: SocketAddr, number: u16) -> Vec<Vec<u8>> {
    let payload: Vec<u8> = (0..800_u16).map(|byte| (byte ^ number) as u8).collect();
    let step = payload.len() / PIECES / 8 * 8;
    let cuts: Vec<usize> = (1..PIECES).map(|piece| piece * step).collect();
    pieces(&udp(from, to, &payload), number, &cuts)
}

/// All orders of the fragments of a datagram.
fn orders() -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..PIECES {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, next);
                    longer
                })
            })
            .collect();
    }
    all
}

/// Who sends, to whom, and the address of the first machine on the way: through a Service, to the node's port, to the pod.
struct Way {
    link: LinkSocket,
    next: [u8; 6],
    from: [IpAddr; 2],
    to: Vec<[SocketAddr; 2]>,
}

impl Way {
    fn all(bed: &Bed) -> [Self; 2] {
        let at = |ips: [IpAddr; 2], port| ips.map(|ip| SocketAddr::new(ip, port));
        let pod = bed.server.at(POD_PORT);
        let node = at(bed.node().addresses(), NODE_PORT);
        let service = at(bed.service(), SERVICE_PORT);
        [
            Self {
                link: LinkSocket::open(&bed.sender, "eth0").unwrap(),
                next: bed.gateway(),
                from: bed.sender.addresses(),
                to: vec![service, node, pod],
            },
            Self {
                link: bed.outside(),
                next: bed.mac(),
                from: bed.clients(),
                to: vec![node, pod],
            },
        ]
    }

    /// Datagrams of both families to everybody, each from the next port.
    fn datagrams(&self, port: &mut u16) -> Vec<Vec<Vec<u8>>> {
        let pairs = self.to.iter().flat_map(|to| self.from.into_iter().zip(*to));
        let pairs: Vec<_> = pairs.collect();
        let cut_next = |(from, to): (IpAddr, SocketAddr)| {
            *port += 1;
            cut((from, *port).into(), to, *port)
        };
        pairs.into_iter().map(cut_next).collect()
    }

    fn send(&self, frame: &[u8]) {
        self.link.send(&to(frame, self.next)).unwrap();
    }
}

fn await_all(bed: &Bed, ports: RangeInclusive<u16>) {
    let missing = || -> Vec<u16> {
        let ports = ports.clone();
        ports.filter(|port| !bed.has_arrived(*port)).collect()
    };
    until("all datagrams to arrive", PATIENCE, || {
        Ok(missing().is_empty().then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:?}; {:?}", missing(), bed.drops()));
}

fn fragments_in_every_order_arrive_as_one_datagram(mode: Mode) {
    let bed = Bed::start(mode);
    let mut port = PORTS;
    for way in Way::all(&bed) {
        for order in orders() {
            let first = port + 1;
            for datagram in way.datagrams(&mut port) {
                for piece in &order {
                    way.send(&datagram[*piece]);
                }
            }
            await_all(&bed, first..=port);
        }
    }
}

fn fragments_of_many_datagrams_arrive_mixed(mode: Mode) {
    let bed = Bed::start(mode);
    let seed = length::seed();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut port = PORTS;
    for way in Way::all(&bed) {
        for _ in 0..length::steps(20, 1000) {
            let first = port + 1;
            let mut all: Vec<Vec<u8>> = way.datagrams(&mut port).into_iter().flatten().collect();
            while !all.is_empty() {
                way.send(&all.swap_remove(random.random_range(0..all.len())));
            }
            // No more at once than the queues of a busy machine hold.
            await_all(&bed, first..=port);
        }
    }
}

/// What is held is forgotten, and others are not kept from being held.
fn fragments_without_a_first_one_go_nowhere(mode: Mode) {
    let bed = Bed::start(mode);
    let mut port = PORTS;
    for way in Way::all(&bed) {
        let lost = port;
        for _ in 0..50 {
            for datagram in way.datagrams(&mut port) {
                for piece in &datagram[1..] {
                    way.send(piece);
                }
            }
        }
        let last = port;
        for datagram in way.datagrams(&mut port) {
            for piece in datagram.iter().rev() {
                way.send(piece);
            }
        }
        await_all(&bed, last + 1..=port);
        assert!((lost + 1..=last).all(|port| !bed.has_arrived(port)));
    }
}
