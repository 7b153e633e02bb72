//! What a connection costs in the programs of the per-packet path, by the kernel's own clock; called by
//! `cargo xtask bench packet`, which renders what this prints (JSON).
//!
//! The packets of whole connections go through `BPF_PROG_TEST_RUN` one by one, each connection from a port of its
//! own: maps are as cold as on a node, what the stack and the devices do is left out.
//! Arguments: how many connections, and optionally an object to measure instead of the agent's.

use std::{
    collections::BTreeMap,
    env, fs,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result};
use aya::EbpfLoader;
use proxy_agent::datapath::{capacities::Capacities, object::OBJECT};
use proxy_common::{
    address::TCP,
    policy::{
        cells::DENY_ALL,
        intervals::{Interval, VERDICT_ALLOW},
        peers::PEER_POD,
        words::{ROW_ALLOW_ALL, ROW_FIRST},
    },
};
use serde_json::json;
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan, Tcp, list, tcp};

/// First port of clients.
const PORTS: u16 = 2000;
/// Rules in force, by pass: half of them for each direction.
const RULES: [u16; 2] = [0, 1000];
/// The pods' rows, far enough apart for all their classes.
const ROWS: [u32; 2] = [ROW_FIRST, ROW_FIRST + 16];
/// Where the Services' backends listen.
const SERVED: u16 = 8080;

/// A way of connections: where packets of the client and of the server are put in, whom the client believes to
/// talk to, who answers to whom.
struct Way {
    name: &'static str,
    forth: Hook,
    back: Hook,
    /// Client's port to client and server, as the client sees them.
    asked: fn(&Plan, u16) -> (SocketAddr, SocketAddr),
    /// The same, as the server sees them.
    served: fn(&Plan, u16) -> (SocketAddr, SocketAddr),
}

const WAYS: [Way; 5] = [
    Way {
        name: "pod to pod, one node",
        forth: Hook::FromPod,
        back: Hook::FromNeighbour,
        asked: |plan, port| (plan.pod(port), plan.neighbour(80)),
        served: |plan, port| (plan.pod(port), plan.neighbour(80)),
    },
    Way {
        name: "pod to pod, away",
        forth: Hook::FromPod,
        back: Hook::FromNet,
        asked: |plan, port| (plan.pod(port), plan.remote_pod(80)),
        served: |plan, port| (plan.pod(port), plan.remote_pod(80)),
    },
    Way {
        name: "pod to pod, from away",
        forth: Hook::FromNet,
        back: Hook::FromPod,
        asked: |plan, port| (plan.remote_pod(port), plan.pod(80)),
        served: |plan, port| (plan.remote_pod(port), plan.pod(80)),
    },
    Way {
        name: "Service, one node",
        forth: Hook::FromPod,
        back: Hook::FromNeighbour,
        asked: |plan, port| (plan.pod(port), plan.vip(1)),
        served: |plan, port| (plan.pod(port), plan.neighbour(SERVED)),
    },
    Way {
        name: "Service, away",
        forth: Hook::FromPod,
        back: Hook::FromNet,
        asked: |plan, port| (plan.pod(port), plan.vip(2)),
        served: |plan, port| (plan.pod(port), plan.remote_pod(SERVED)),
    },
];

/// The packets of a connection: what, whether the client sends it, what it counts as.
const CONNECTION: [(Tcp, bool, &str); 10] = [
    (Tcp::Syn, true, "open"),
    (Tcp::SynAck, false, "answer"),
    (Tcp::Ack, true, "data_forth"),
    (Tcp::Ack, true, "data_forth"),
    (Tcp::Ack, false, "data_back"),
    (Tcp::Ack, false, "data_back"),
    (Tcp::Ack, true, "data_forth"),
    (Tcp::Fin, true, "close"),
    (Tcp::Fin, false, "close"),
    (Tcp::Ack, true, "data_forth"),
];

/// Nanoseconds, by what they were spent on.
type Samples = BTreeMap<&'static str, Vec<u64>>;

fn main() -> Result<()> {
    // Cargo says `--bench` to every bench.
    let mut arguments = env::args().skip(1).filter(|word| word != "--bench");
    let rounds: u16 = arguments.next().context("how many connections?")?.parse()?;
    let object = match arguments.next() {
        Some(path) => fs::read(&path).with_context(|| format!("read {path}"))?,
        None => OBJECT.to_vec(),
    };
    let mut bench = prepare(&object)?;
    let mut rows = vec![json!({
        "case": "nothing", "family": "none", "rules": 0, "metric": "packet", "value": nothing(&mut bench, rounds)?,
    })];
    for (pass, rules) in (0..).zip(RULES) {
        enforce(&mut bench, rules)?;
        for (plan, family) in FAMILIES.iter().zip(["IPv4", "IPv6"]) {
            for way in &WAYS {
                // Ports that no earlier pass has warmed.
                let ports = (PORTS + pass * rounds..).take(rounds.into());
                for (metric, values) in measure(&mut bench, plan, way, ports)? {
                    let (case, value) = (way.name, median(values));
                    rows.push(json!({
                        "case": case, "family": family, "rules": rules, "metric": metric, "value": value,
                    }));
                }
            }
        }
    }
    serde_json::to_writer(std::io::stdout(), &rows).context("print the results")
}

/// The bench, with maps as large as an agent makes them, and the Services.
fn prepare(object: &[u8]) -> Result<Bench> {
    let capacities = Capacities::default();
    let mut loader = EbpfLoader::new();
    for (map, entries) in capacities.by_map() {
        loader.map_max_entries(map, entries);
    }
    let mut bench = Bench::of(object, &mut loader)?;
    bench.allow_unanswered(capacities.unanswered(1, 0))?;
    for (first, plan) in (1..).step_by(2).zip(FAMILIES) {
        bench.service(first, plan.vip(1), TCP, &[plan.neighbour(SERVED)], 0)?;
        bench.service(first + 1, plan.vip(2), TCP, &[plan.remote_pod(SERVED)], 0)?;
    }
    Ok(bench)
}

/// Isolates both pods in both directions by so many rules, each about another peer, as the compiler would lay them
/// out: a class for each peer, a cell for each class. The last of each direction lets the connections pass.
fn enforce(bench: &mut Bench, rules: u16) -> Result<()> {
    if rules == 0 {
        return (1..=2).try_for_each(|pod| bench.policy(pod, ROW_ALLOW_ALL, ROW_ALLOW_ALL));
    }
    let strangers = rules / 2 - 1;
    let ports = [80, SERVED].map(|port| Interval {
        low: port,
        high: port,
        protocol: TCP,
        verdict: VERDICT_ALLOW,
        ..Interval::default()
    });
    bench.intervals(1, &ports, 0)?;
    let mut cells = vec![DENY_ALL];
    for number in 0..strangers {
        let [high, low] = number.to_be_bytes();
        bench.peer(
            Ipv4Addr::new(198, 18, high, low).into(),
            1 + u32::from(number),
            0,
        )?;
        let block = 2 + u32::from(number);
        let port = Interval {
            low: 1024 + number,
            high: 1024 + number,
            ..ports[0]
        };
        bench.intervals(block, &[port], 0)?;
        cells.push(list(block));
    }
    for plan in FAMILIES {
        for pod in [plan.pod, plan.neighbour, plan.remote_pod] {
            bench.peer(pod, 1 + u32::from(strangers), PEER_POD)?;
        }
    }
    cells.push(list(1));
    for row in ROWS {
        bench.row(row, &cells)?;
    }
    (1..=2).try_for_each(|pod| bench.policy(pod, ROWS[0], ROWS[1]))
}

/// A packet that no program looks at: the price of the measurement.
fn nothing(bench: &mut Bench, rounds: u16) -> Result<u64> {
    let mut packet = [0; 64];
    packet[12..14].copy_from_slice(&[0x08, 0x06]);
    let values: Result<Vec<u64>> = (0..rounds)
        .map(|_| nanoseconds(bench, Hook::FromNet, &packet))
        .collect();
    Ok(median(values?))
}

fn measure(
    bench: &mut Bench,
    plan: &Plan,
    way: &Way,
    ports: impl Iterator<Item = u16>,
) -> Result<Samples> {
    let mut samples = Samples::new();
    for port in ports {
        let mut whole = 0;
        for (what, from_client, metric) in CONNECTION {
            let (hook, (from, to)) = if from_client {
                (way.forth, (way.asked)(plan, port))
            } else {
                let (client, server) = (way.served)(plan, port);
                (way.back, (server, client))
            };
            let took = nanoseconds(bench, hook, &tcp(from, to, what, b""))
                .with_context(|| format!("{}: {what:?} from {from} to {to}", way.name))?;
            samples.entry(metric).or_default().push(took);
            whole += took;
        }
        samples.entry("connection").or_default().push(whole);
    }
    Ok(samples)
}

fn nanoseconds(bench: &mut Bench, hook: Hook, packet: &[u8]) -> Result<u64> {
    let took = bench.time(hook, packet)?.as_nanos();
    u64::try_from(took).context("a run of centuries")
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
