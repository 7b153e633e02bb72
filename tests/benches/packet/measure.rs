//! Times of packets, by the kernel's own clock.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context as _, Result};
use proxy_common::address::TCP;
use weir_tests::packets::{Bench, Hook, Plan, Tcp, see, tcp, udp};

use crate::way::Way;

/// Nanoseconds, by what they were spent on.
pub(crate) type Samples = BTreeMap<&'static str, Vec<u64>>;

/// The packets of a connection: what, whether the client sends it, what it counts as.
const CONNECTION: [(Tcp, bool, &str); 10] = [
    (Tcp::Syn, true, OPEN),
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
/// Of those, what datagrams have as well.
const DATAGRAMS: usize = 7;
/// The packet that begins a flow.
const OPEN: &str = "open";
/// What a packet costs that one like it has just preceded: long flows.
const WARM: [(bool, &str); 2] = [(true, "established_forth"), (false, "established_back")];

/// How much is measured at a time.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    /// Connections, each from a port of its own.
    pub(crate) connections: u16,
    /// Packets in each direction of an established one.
    pub(crate) repeats: u16,
}

/// What a round is about.
pub(crate) struct Measured<'a> {
    pub(crate) bench: &'a mut Bench,
    /// What each measurement costs by itself.
    pub(crate) own_cost: u64,
}

impl Measured<'_> {
    /// A packet that no program looks at: the price of the measurement.
    pub(crate) fn nothing(bench: &mut Bench, amount: Amount) -> Result<u64> {
        let mut packet = [0; 64];
        packet[12..14].copy_from_slice(&[0x08, 0x06]);
        let values: Result<Vec<u64>> = (0..amount.repeats)
            .map(|_| nanoseconds(bench, Hook::FromNet, &packet))
            .collect();
        Ok(median(values?))
    }

    /// Connections from these ports, then a long one from the last.
    pub(crate) fn way(
        &mut self,
        (way, plan, protocol): (&Way, &Plan, u8),
        first_port: u16,
        amount: Amount,
    ) -> Result<Samples> {
        let mut samples = Samples::new();
        for port in first_port..first_port + amount.connections {
            let flow = Flow::of(way, plan, protocol, port);
            self.connection(flow, &mut samples)
                .with_context(|| format!("{} from port {port}", way.name))?;
        }
        let flow = Flow::of(way, plan, protocol, first_port + amount.connections);
        self.long(flow, amount.repeats, &mut samples)
            .with_context(|| format!("a long flow of {}", way.name))?;
        Ok(samples)
    }

    /// The packets of a connection, one by one.
    fn connection(&mut self, mut flow: Flow, samples: &mut Samples) -> Result<()> {
        let packets = if flow.protocol == TCP {
            &CONNECTION[..]
        } else {
            &CONNECTION[..DATAGRAMS]
        };
        let mut whole = 0;
        for (what, from_client, metric) in packets {
            let took = self.packet(&flow, *what, *from_client)?;
            samples.entry(metric).or_default().push(took);
            whole += took;
            if *metric == OPEN {
                flow.look(self.bench)?;
            }
        }
        samples.entry("connection").or_default().push(whole);
        Ok(())
    }

    /// One flow, the same packet again and again.
    fn long(&mut self, mut flow: Flow, repeats: u16, samples: &mut Samples) -> Result<()> {
        self.packet(&flow, Tcp::Syn, true)?;
        flow.look(self.bench)?;
        self.packet(&flow, Tcp::SynAck, false)?;
        for (from_client, metric) in WARM {
            let took: Result<Vec<u64>> = (0..repeats)
                .map(|_| self.packet(&flow, Tcp::Ack, from_client))
                .collect();
            samples.entry(metric).or_default().extend(took?);
        }
        Ok(())
    }

    fn packet(&mut self, flow: &Flow, what: Tcp, from_client: bool) -> Result<u64> {
        let (hook, packet) = flow.packet(what, from_client);
        let took = nanoseconds(self.bench, hook, &packet)
            .with_context(|| format!("{what:?} at {hook:?}"))?;
        Ok(took.saturating_sub(self.own_cost))
    }
}

/// A flow by a way.
struct Flow {
    protocol: u8,
    hooks: (Hook, Hook),
    /// Source and destination of the client's packets, as the client sees them.
    asked: (SocketAddr, SocketAddr),
    /// The same, as the server sees them.
    served: (SocketAddr, SocketAddr),
}

impl Flow {
    fn of(way: &Way, plan: &Plan, protocol: u8, port: u16) -> Self {
        let asked = (way.asked)(plan, port);
        Self {
            protocol,
            hooks: (way.forth, way.back),
            asked,
            served: asked,
        }
    }

    /// Learns what the server sees, by the first packet sent again.
    fn look(&mut self, bench: &mut Bench) -> Result<()> {
        let (hook, packet) = self.packet(Tcp::Syn, true);
        let seen = see(&bench.run(hook, &packet)?.bytes);
        self.served = (seen.source, seen.destination);
        Ok(())
    }

    fn packet(&self, what: Tcp, from_client: bool) -> (Hook, Vec<u8>) {
        let (hook, (from, to)) = if from_client {
            (self.hooks.0, self.asked)
        } else {
            (self.hooks.1, (self.served.1, self.served.0))
        };
        let bytes = if self.protocol == TCP {
            tcp(from, to, what, b"")
        } else {
            udp(from, to, b"")
        };
        (hook, bytes)
    }
}

fn nanoseconds(bench: &mut Bench, hook: Hook, packet: &[u8]) -> Result<u64> {
    let took = bench.time(hook, packet)?.as_nanos();
    u64::try_from(took).context("a run of centuries")
}

pub(crate) fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
