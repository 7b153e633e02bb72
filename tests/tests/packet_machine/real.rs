//! The programs themselves, on a bench.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};
use etherparse::{IpNumber, LaxPacketHeaders, NetHeaders};
use nix::time::{ClockId, clock_gettime};
use proxy_common::{
    backends::{MemberKey, SlotKey},
    frontends::{BackendSet, FLAG_CLUSTER_IP, FLAG_EXTERNAL_DROP, FLAG_MEMBERS, Frontend as Value},
    node::NODE_FORWARD_BPF,
    time::seconds,
};
use weir_tests::{
    family::{Family, Four, Six},
    flow_table::{Dump, ICMP, Record, Tuple},
    packets::{BACK, Bench, FAMILIES, Hook, MASQUERADE, NEXT, Outcome, REDIRECT, SHOT, see},
};

use super::{
    machine::{Fate, Form, Machine},
    packet::{Kind, Packet, Part},
    world::{Address, Change, Frontend, Place, World, place},
};

/// Slots for more flows than the generator's few ends can make.
const ENOUGH: u32 = 4096;

/// The programs.
#[derive(Debug)]
pub(crate) struct Real {
    bench: Bench,
    /// Backends whose values are written.
    written: BTreeSet<u32>,
    /// XDP has what comes from outside before tc.
    wired: bool,
}

impl Real {
    pub(crate) fn new() -> Result<Self> {
        Self::with_slots(ENOUGH)
    }

    /// With so many slots for the flows of each family.
    pub(crate) fn with_slots(slots: u32) -> Result<Self> {
        Ok(Self {
            bench: Bench::with_slots(slots)?,
            written: BTreeSet::new(),
            wired: false,
        })
    }

    /// What pods send out of the cluster leaves in the node's name.
    pub(crate) fn masquerading(mut self) -> Result<Self> {
        self.bench.set_flags(NODE_FORWARD_BPF | MASQUERADE)?;
        let [v4, v6] = FAMILIES;
        self.bench.link("net0", [v4.node, v6.node])?;
        Ok(self)
    }

    /// What comes from outside comes by XDP first.
    pub(crate) fn wired(mut self) -> Result<Self> {
        let [v4, v6] = FAMILIES;
        self.bench.link("net0", [v4.node, v6.node])?;
        self.wired = true;
        Ok(self)
    }

    /// Writes a set, and the frontends that say how large it is.
    fn write_set(&mut self, set: u32, world: &World) -> Result<()> {
        let backends = &world.sets[&set];
        let candidates = world.candidates(set);
        for id in candidates {
            if self.written.insert(*id) {
                self.write_backend(*id, world.backends[id])?;
            }
            let member = MemberKey { set, backend: *id };
            let mut members = self.bench.hash::<_, u32>("BACKEND_MEMBERS")?;
            if backends.members.contains(id) {
                members.insert(member, 0, 0)?;
            } else if members.get(&member, 0).is_ok() {
                members.remove(&member)?;
            }
        }
        for (index, id) in (0..).zip(&backends.slots) {
            self.bench
                .hash("BACKEND_SLOTS")?
                .insert(SlotKey { set, index }, *id, 0)?;
        }
        let concerned = world
            .frontends
            .iter()
            .filter(|(_, frontend)| [frontend.internal, frontend.external].contains(&set));
        for (address, frontend) in concerned {
            self.write_frontend(*address, Some(*frontend), world)?;
        }
        Ok(())
    }

    /// A port of the node is of interest to the programs.
    fn matters(&mut self, port: u16) -> Result<()> {
        let mut words = self.bench.array::<u64>("NODE_PORTS")?;
        let index = u32::from(port / 64);
        let word = words.get(&index, 0)? | 1 << (port % 64);
        words.set(index, word, 0).context("note a port of the node")
    }

    fn write_backend(&mut self, id: u32, backend: Tuple) -> Result<()> {
        if place(backend.to.ip()) == Place::Node {
            self.matters(backend.to.port())?;
        }
        self.write_backend_of::<Four>(id, backend)?;
        self.write_backend_of::<Six>(id, backend)
    }

    fn write_backend_of<F: Family>(&mut self, id: u32, backend: Tuple) -> Result<()> {
        if let Some(address) = F::address(backend.to.ip()) {
            let value = F::backend(address, backend.to.port(), backend.protocol);
            self.bench
                .hash::<u32, F::Backend>(&F::map("BACKENDS"))?
                .insert(id, value, 0)?;
        }
        Ok(())
    }

    fn write_frontend(&mut self, at: Address, to: Option<Frontend>, world: &World) -> Result<()> {
        let value = to.map(|frontend| value(&frontend, world));
        self.write_frontend_of::<Four>(at, value)?;
        self.write_frontend_of::<Six>(at, value)
    }

    fn write_frontend_of<F: Family>(
        &mut self,
        address: Address,
        value: Option<Value>,
    ) -> Result<()> {
        let Address { at, protocol } = address;
        let Some(ip) = F::address(at.ip()) else {
            return Ok(());
        };
        let key = F::frontend(ip, at.port(), protocol);
        let mut frontends = self
            .bench
            .hash::<F::FrontendKey, Value>(&F::map("FRONTENDS"))?;
        match value {
            Some(value) => frontends.insert(key, value, 0)?,
            None if frontends.get(&key, 0).is_ok() => frontends.remove(&key)?,
            None => {}
        }
        Ok(())
    }
}

fn value(frontend: &Frontend, world: &World) -> Value {
    let set = |id: u32| {
        let count = world.sets.get(&id).map_or(0, |set| set.slots.len());
        BackendSet {
            id,
            count: count as u32,
        }
    };
    let mut flags = FLAG_MEMBERS;
    if frontend.cluster_ip {
        flags |= FLAG_CLUSTER_IP;
    }
    if frontend.external_drop {
        flags |= FLAG_EXTERNAL_DROP;
    }
    Value {
        service: frontend.service,
        flags,
        affinity_seconds: 0,
        maglev: 0,
        internal: set(frontend.internal),
        external: set(frontend.external),
    }
}

impl Machine for Real {
    fn put(&mut self, packet: &Packet) -> Result<Fate> {
        let bytes = packet.bytes();
        if self.wired && packet.hook == Hook::FromNet {
            let mut outcome = self.bench.run(Hook::FromWire, &bytes)?;
            if outcome.action == BACK {
                outcome.action = REDIRECT;
            }
            if outcome.action != NEXT {
                return fate(packet, &outcome);
            }
            ensure!(outcome.bytes == bytes, "what goes up is not as it came");
        }
        let outcome = self.bench.run(packet.hook, &bytes)?;
        fate(packet, &outcome)
    }

    fn now(&self) -> Result<u32> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).context("read the clock")?;
        let nanoseconds = now.tv_sec() * 1_000_000_000 + now.tv_nsec();
        Ok(seconds(u64::try_from(nanoseconds)?))
    }

    fn age(&mut self, tuple: Tuple, expires: u32) -> Result<()> {
        self.bench.age_flow(tuple, expires)
    }

    fn record(&mut self, tuple: Tuple) -> Result<Option<Record>> {
        self.bench.record(tuple)
    }

    fn change(&mut self, change: Change, world: &World) -> Result<()> {
        match change {
            Change::Serve { set, .. } | Change::Drain { set, .. } | Change::Remove { set, .. } => {
                self.write_set(set, world)?;
            }
            Change::Offer(address, frontend) => {
                if !frontend.cluster_ip {
                    self.matters(address.at.port())?;
                }
                self.write_frontend(address, Some(frontend), world)?;
            }
            Change::Withdraw(address) => self.write_frontend(address, None, world)?,
        }
        let mut epoch = self.bench.array::<u32>("SERVICE_EPOCH")?;
        let next = epoch.get(&0, 0)?.wrapping_add(1);
        epoch.set(0, next, 0).context("raise the epoch of Services")
    }

    fn dump(&mut self) -> Result<[Dump; 2]> {
        self.bench.dump()
    }
}

/// What came of a packet, as far as a bench shows it. The checksums of what is whole are checked.
fn fate(packet: &Packet, outcome: &Outcome) -> Result<Fate> {
    if let Some(reason) = outcome.drop
        && outcome.action != NEXT
        && outcome.action != REDIRECT
    {
        return Ok(Fate::Dropped(reason));
    }
    if outcome.action == SHOT {
        return Ok(Fate::Held);
    }
    let form = form(packet, &outcome.bytes)?;
    match (outcome.action, form) {
        (_, None) => Ok(Fate::Refused),
        (NEXT, Some(form)) => Ok(Fate::Left(form)),
        (REDIRECT, Some(form)) => Ok(Fate::Redirected(form)),
        (action, _) => anyhow::bail!("action {action} without a reason"),
    }
}

/// The form of a packet that came out; none of an answer to its sender.
fn form(packet: &Packet, bytes: &[u8]) -> Result<Option<Form>> {
    let headers = LaxPacketHeaders::from_ethernet(bytes)?;
    let net = headers.net.context("no IP header")?;
    let (from, to, is_fragment, at) = match &net {
        NetHeaders::Ipv4(ip, _) => {
            let sum = ip.calc_header_checksum();
            ensure!(ip.header_checksum == sum, "checksum of {ip:?}");
            let (from, to) = (ip.source.into(), ip.destination.into());
            (from, to, ip.is_fragmenting_payload(), 14 + 20)
        }
        NetHeaders::Ipv6(ip, _) => {
            let (from, to) = (ip.source.into(), ip.destination.into());
            (
                from,
                to,
                ip.next_header == IpNumber::IPV6_FRAGMENTATION_HEADER,
                14 + 40 + 8,
            )
        }
        NetHeaders::Arp(_) => anyhow::bail!("an ARP packet"),
    };
    // What is answered to a fragment is none itself.
    if is_fragment {
        let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let (from_port, to_port) = match packet.part {
            Part::First(_) if packet.tuple.protocol == ICMP => (port(at + 4), port(at + 4)),
            Part::First(_) => (port(at), port(at + 2)),
            _ => (0, 0),
        };
        return Ok(Some(Form {
            from: SocketAddr::new(from, from_port),
            to: SocketAddr::new(to, to_port),
            quoted: None,
        }));
    }
    let seen = see(bytes);
    let asked_for_rst = packet.segment().is_some_and(|segment| segment.rst);
    let is_reset = seen.tcp.is_some_and(|tcp| tcp.rst) && !asked_for_rst;
    let is_error = !matches!(packet.kind, Kind::Error(_)) && seen.quoted.is_some();
    if is_reset || is_error {
        return Ok(None);
    }
    let mut form = Form {
        from: seen.source,
        to: seen.destination,
        quoted: seen.quoted,
    };
    if packet.tuple.protocol == ICMP {
        identify(&mut form, bytes);
    }
    Ok(Some(form))
}

/// An echo, or a quoted one, shows its identifier as both ports.
fn identify(form: &mut Form, bytes: &[u8]) {
    let header = if form.from.is_ipv6() { 40 } else { 20 };
    let identifier = |at: usize| u16::from_be_bytes([bytes[at + 4], bytes[at + 5]]);
    let echo = 14 + header;
    let ends = match &mut form.quoted {
        Some((from, to)) => {
            let quoted = identifier(echo + 8 + header);
            [(from, quoted), (to, quoted)]
        }
        None => [
            (&mut form.from, identifier(echo)),
            (&mut form.to, identifier(echo)),
        ],
    };
    for (end, identifier) in ends {
        end.set_port(identifier);
    }
}
