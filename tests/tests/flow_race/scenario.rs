//! What the two processors do at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use aya::EbpfLoader;
use proxy_agent::datapath::object::OBJECT;
use proxy_common::{
    address::{TCP, UDP},
    endpoints::Endpoint,
};
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan, Tcp, tcp, udp};

use crate::pair::Seen;

/// Where backends listen.
const SERVED: u16 = 8080;
/// A `NodePort`.
const NODE_PORT: u16 = 30_000;
/// A `NodePort` with backends here and elsewhere.
const MIXED: u16 = 30_001;
/// The same, which keeps a client at its backend.
const STICKY: u16 = 30_002;
/// Ports of clients that begin again and again.
const PORTS: u64 = 1000;
/// How many ports translated sources may have: a port and one that is so much higher become one.
const SOURCE_PORTS: u16 = 20_000;

/// Two packets at once, and what must hold of what came of them.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// The flows of both sides, with the client's port.
    flows: fn(&Plan, u16) -> [Begun; 2],
    pub(crate) holds: fn(&[Seen; 2]) -> Result<(), &'static str>,
}

/// A flow that a side begins.
type Begun = (Hook, SocketAddr, SocketAddr);

pub(crate) const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "one flow to a Service",
        flows: |plan, port| [(Hook::FromPod, plan.pod(port), plan.vip(1)); 2],
        holds: are_one,
    },
    Scenario {
        name: "one flow to a NodePort",
        flows: |plan, port| [(Hook::FromNet, plan.outside(port), plan.node(NODE_PORT)); 2],
        holds: are_one,
    },
    Scenario {
        name: "one flow to a Service with backends here, elsewhere and in the client",
        flows: |plan, port| [(Hook::FromPod, plan.pod(port), plan.vip(4)); 2],
        holds: are_one,
    },
    Scenario {
        name: "one flow to a NodePort with backends here and elsewhere",
        flows: |plan, port| [(Hook::FromNet, plan.outside(port), plan.node(MIXED)); 2],
        holds: are_one,
    },
    Scenario {
        name: "one flow with affinity",
        flows: |plan, port| [(Hook::FromNet, stranger(plan, port), plan.node(STICKY)); 2],
        holds: are_one,
    },
    Scenario {
        name: "two Services with one backend",
        flows: |plan, port| {
            [plan.vip(2), plan.vip(3)].map(|vip| (Hook::FromPod, plan.pod(port), vip))
        },
        holds: are_two,
    },
    Scenario {
        name: "a Service and its backend",
        flows: |plan, port| {
            let to = [plan.vip(2), plan.remote_pod(SERVED)];
            to.map(|to| (Hook::FromPod, plan.pod(port), to))
        },
        holds: are_two,
    },
    Scenario {
        name: "two clients whose ports become one",
        flows: |plan, port| {
            let ports = [port, port + SOURCE_PORTS];
            ports.map(|port| (Hook::FromNet, plan.outside(port), plan.node(NODE_PORT)))
        },
        holds: are_two,
    },
    Scenario {
        name: "two who begin with each other",
        flows: |plan, port| {
            let (one, other) = (plan.pod(port), plan.neighbour(port));
            [
                (Hook::FromPod, one, other),
                (Hook::FromNeighbour, other, one),
            ]
        },
        holds: are_answers,
    },
];

/// A client of its own for each port.
fn stranger(plan: &Plan, port: u16) -> SocketAddr {
    let [high, low] = port.to_be_bytes();
    let ip: IpAddr = if plan.is_ipv6() {
        Ipv6Addr::new(0xfd00, 0x51, 0, 0, 0, 0, 0, port).into()
    } else {
        Ipv4Addr::new(198, 51, high, low).into()
    };
    SocketAddr::new(ip, port)
}

/// Both sides' packets of a round. Families and protocols take turns.
pub(crate) fn packets(scenario: &Scenario, round: u64) -> Vec<(Hook, Vec<u8>)> {
    let plan = &FAMILIES[usize::from(round.is_multiple_of(2))];
    let port = 2000 + (round / 4 % PORTS) as u16;
    let flows = (scenario.flows)(plan, port);
    let packet = |(hook, from, to)| {
        let bytes = if (round / 2).is_multiple_of(2) {
            tcp(from, to, Tcp::Syn, b"")
        } else {
            udp(from, to, b"begin")
        };
        (hook, bytes)
    };
    flows.map(packet).into()
}

/// Whoever was second has joined the flow of the first, and follows it to the same place.
fn are_one([first, second]: &[Seen; 2]) -> Result<(), &'static str> {
    match (first, second) {
        (Some(first), Some(second)) if first == second => Ok(()),
        (Some(_), Some(_)) => Err("one flow, two ways"),
        _ => Err("a drop, though there is room"),
    }
}

/// Nobody could tell the answers apart otherwise.
fn are_two([first, second]: &[Seen; 2]) -> Result<(), &'static str> {
    match (first, second) {
        (Some(first), Some(second)) if first != second => Ok(()),
        (Some(_), Some(_)) => Err("two flows, one tuple"),
        _ => Err("a drop, though there is room"),
    }
}

/// To each, the other's packet is an answer to its own; one of them may be lost to the other, as with netfilter.
fn are_answers([first, second]: &[Seen; 2]) -> Result<(), &'static str> {
    match (first, second) {
        (Some(first), Some(second)) if (first.to, first.from) == (second.from, second.to) => Ok(()),
        (Some(_), Some(_)) => Err("no clash, yet another port"),
        (None, None) => Err("both are lost"),
        _ => Ok(()),
    }
}

/// A bench with room for so many flows of each family, and the Services of all scenarios.
pub(crate) fn bench(slots: u32) -> Result<Bench> {
    let mut loader = EbpfLoader::new();
    for map in ["FLOWS4", "FLOWS6"] {
        loader.map_max_entries(map, slots);
    }
    for map in ["FLOW_INDEX4", "FLOW_INDEX6"] {
        loader.map_max_entries(map, 2 * slots + slots / 4);
    }
    loader.override_global("FLOW_SLOTS", &slots, true);
    let mut bench = Bench::of(OBJECT, &mut loader)?;
    bench.source_ports(1024, 1023 + SOURCE_PORTS)?;
    let mut endpoints = bench.array::<Endpoint>("ENDPOINTS")?;
    let neighbour = Endpoint {
        pod_mac: [2, 0, 0, 0, 2, 1],
        ..endpoints.get(&2, 0)?
    };
    endpoints.set(2, neighbour, 0)?;
    let mut id = 0;
    for plan in FAMILIES {
        let any: IpAddr = if plan.is_ipv6() {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        for protocol in [TCP, UDP] {
            let many: Vec<SocketAddr> = (0..4).map(|port| plan.remote_pod(port + 9000)).collect();
            let one = [plan.remote_pod(SERVED)];
            let mixed = [
                plan.pod(SERVED),
                plan.neighbour(SERVED),
                plan.remote_pod(SERVED + 1),
            ];
            let sticky = mixed.map(|at| SocketAddr::new(at.ip(), SERVED + 2));
            for (at, backends) in [
                (plan.vip(1), many.as_slice()),
                (plan.vip(2), &one),
                (plan.vip(3), &one),
                (SocketAddr::new(any, NODE_PORT), &one),
                (plan.vip(4), &mixed),
                (SocketAddr::new(any, MIXED), &mixed),
                (SocketAddr::new(any, STICKY), &sticky),
            ] {
                id += 1;
                bench.service(id, at, protocol, backends, 0)?;
            }
            bench.stick(SocketAddr::new(any, STICKY), protocol, 3600)?;
        }
    }
    // Programs are loaded when they first run.
    let [plan, _] = FAMILIES;
    for (hook, from, to) in [
        (Hook::FromPod, plan.pod(1), plan.outside(1)),
        (Hook::FromNet, plan.outside(1), plan.node(1)),
    ] {
        bench.run(hook, &udp(from, to, b""))?;
    }
    Ok(bench)
}
