//! Reconciliation: keeps the node as it should be, driven by the main loop.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cni_plugin::node_file::boot_id;
use ipnetwork::IpNetwork;

use super::{
    NodeReport, addresses, astray,
    desired::Desired,
    detours,
    encryption::{self, Encrypted, keeper::Keeper as EncryptionKeeper},
    facts::Facts,
    host_device::{self, Leads, Published},
    links::Link,
    maps::NodeMaps,
    masquerade::{Masquerade, file::Follower},
    opening::Opening,
    reach::Reach,
    routes::OURS,
    source_ports,
    sysctls::Sysctls,
    tunnel::{self, Tunnel, relayed::Relayed},
};
use crate::{
    config::{Configuration, LEAST_MTU_OF_IPV6},
    datapath::Maps,
    model::{Kind, Owned, Snapshot},
    subject::Repairs,
    usage::in_full,
};

/// Keeps the node as it should be.
pub struct NodeKeeper {
    boot_id: String,
    maps: NodeMaps,
    opening: Opening,
    unreachable: BTreeMap<String, String>,
    errors: Vec<String>,
    reach: Reach,
    sysctls: Sysctls,
    masquerade: Follower,
    encryption: EncryptionKeeper,
    relayed: Relayed,
    /// When the tunnel's device could not be made that nothing needs.
    no_tunnel: Option<Instant>,
}

/// When that is tried again.
const AGAIN: Duration = Duration::from_mins(1);

/// Whether pods may start.
pub struct Gate {
    /// Why new ones may not, though others live.
    pub closed: Option<String>,
    /// UID of the Node by whose claim they get their addresses; empty: by none.
    pub claimed_by: String,
    /// Services and policy are in force.
    pub ready: bool,
}

impl NodeKeeper {
    /// For this configuration. A `node.json` that is there stays valid: the plugin goes on meanwhile.
    pub fn new(config: &Configuration, maps: &Maps) -> anyhow::Result<Self> {
        Ok(Self {
            boot_id: boot_id().context("read boot_id")?,
            maps: NodeMaps::open(maps).context("read the node's maps")?,
            opening: Opening::new(config),
            unreachable: BTreeMap::new(),
            errors: Vec::new(),
            reach: Reach::default(),
            sysctls: Sysctls::default(),
            masquerade: Follower::default(),
            encryption: EncryptionKeeper::default(),
            relayed: Relayed::of(maps),
            no_tunnel: None,
        })
    }

    /// Compares and acts.
    pub fn sync(
        &mut self,
        config: &Configuration,
        (snapshot, published): (&Snapshot, &Published),
        gate: Gate,
        repairs: &mut Repairs,
    ) -> NodeReport {
        let Gate {
            closed,
            claimed_by,
            ready,
        } = gate;
        let mut report = NodeReport::default();
        let facts = match Facts::read() {
            Ok(facts) => facts,
            Err(e) => {
                report
                    .errors
                    .push(format!("read the machine's interfaces: {e}"));
                return report;
            }
        };
        report.errors.extend(self.sysctls.hear(&facts, repairs));
        self.reach.renew(&facts, &OURS);
        let mut reach = |ip| self.reach.ask(ip);
        let key = self.encryption.device().public;
        let shown = encryption::shown(snapshot, &config.node_name, key);
        let encrypts = self.encryption.prepare(config, shown, repairs);
        let boot = &self.boot_id;
        let mut desired = Desired::of(config, boot, snapshot, &facts, &mut reach, encrypts);
        let keepalive = config.encryption.keepalive();
        let brought = self
            .encryption
            .bring(&desired.encrypted, keepalive, repairs);
        let problem = self.encryption.problem().map(str::to_owned);
        report.errors.extend(problem.into_iter().chain(brought));
        report.encryption_device = self.encryption.index();
        report.encrypts = encrypts;
        report.published_key = self.encryption.published();
        let complete = snapshot.complete.has(&[Kind::Node]);
        let ranges = host_device::ranges::ranges(&config.node.service_cidrs, published, snapshot);
        let file = &config.masquerade.ip_masq_agent_file;
        self.masquerade.look(file, Instant::now());
        report.file_error = self.masquerade.error().map(str::to_owned);
        desired.masquerade = Some(Masquerade::of(
            config,
            self.masquerade.file(),
            &desired.pods,
            snapshot,
            ranges.as_ref(),
        ));
        match host_device::link::ensure(desired.host_device_mtu(config), repairs) {
            Ok(index) => report.host_device = Some(index),
            Err(e) => report.errors.push(format!("{e:#}")),
        }
        let index = report.host_device.unwrap_or(0);
        let may_relay = !desired.tunnel.relays && !config.encryption.is_on();
        if may_relay && self.maps.relays() && self.relayed.are_any() {
            (desired.tunnel.relays, desired.tunnel.wanted) = (true, true);
        }
        match self.tunnel_device(config, &desired.tunnel, repairs) {
            Ok(index) => report.tunnel_device = index,
            Err(e) => report.errors.push(format!("{e:#}")),
        }
        // What nothing here is sent by needs no look-up.
        let sends = desired.tunnel.wanted || self.maps.sends();
        let sends = report.tunnel_device.filter(|_| sends);
        let [tunnel, encryption] = [sends, report.encryption_device];
        let devices = [index, tunnel.unwrap_or(0)];
        desired.lead_into(tunnel, encryption, &facts);
        let (mended, written) = self.maps.write(config, &desired, devices, complete);
        if mended > 0 {
            repairs.repaired(Owned::NodeMaps, "entries of the node's maps");
        }
        report
            .errors
            .extend(written.err().map(|e| format!("{e:#}")));
        report.addresses = Some(addresses::in_force(&self.maps));
        report.ranges = Some(addresses::ranges_in_force(&self.maps));
        let names: Vec<&str> = desired.links.chosen.values().map(Link::name).collect();
        let set = self.sysctls.apply(&names, &config.conntrack, repairs);
        report.errors.extend(set);
        report.notes = notes(config, &desired);
        self.tell(&desired);
        if ready && let Some(mut file) = desired.file.clone() {
            report.closed.clone_from(&closed);
            file.closed = closed;
            file.claimed_by = claimed_by;
            let opened = self.opening.open(config, file, repairs);
            let failed = opened.err().map(|e| format!("{e:#}"));
            report.closed = failed.clone().or(report.closed);
            report.errors.extend(failed);
        } else if ready && !self.opening.is_open() {
            report.closed = Some("no range of addresses for pods is known".to_owned());
        }
        if ready {
            report.leads = ranges.map(|ranges| Leads::of(ranges, index, &desired.internal, &facts));
        }
        report.ready = self.opening.is_open();
        report.detours = of_pods(&desired, &facts);
        report.masquerade = desired.masquerade;
        report.health_checks = Some(desired.health_checks);
        report.links = Some(desired.links);
        report.routes = Some(desired.routes);
        report.tunnel = Some(desired.tunnel);
        report.encrypted = desired.encrypted;
        report.ways = desired.ways;
        report.facts = facts;
        report
    }

    /// Ends in the maps what the routes do not lead into the tunnel any more.
    pub fn leave_tunnel(&mut self, tunnel: &Tunnel, complete: bool) -> Result<(), String> {
        let left = self.maps.leave_tunnel(tunnel, complete);
        left.map_err(|e| format!("write who is reached by the tunnel: {e:#}"))
    }

    /// Removes the peers to which nothing leads any more.
    pub fn leave_peers(&mut self, encrypted: &Encrypted) -> Result<(), String> {
        self.encryption.leave(encrypted)
    }

    /// The device that encrypts.
    pub const fn encryption(&self) -> &EncryptionKeeper {
        &self.encryption
    }

    /// What the plugin goes by.
    pub const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The maps.
    pub const fn maps(&self) -> &NodeMaps {
        &self.maps
    }

    /// The tunnel's device, if there is to be one. Where nothing here needs it, it may as well be missing: the kernel may have no
    /// VXLAN, or somebody else the port.
    fn tunnel_device(
        &mut self,
        config: &Configuration,
        tunnel: &Tunnel,
        repairs: &mut Repairs,
    ) -> anyhow::Result<Option<u32>> {
        let waits = self.no_tunnel.is_some_and(|since| since.elapsed() < AGAIN);
        if !tunnel.has_device() || !tunnel.wanted && waits {
            return Ok(None);
        }
        match tunnel::link::ensure(config.tunnel.port, tunnel.mtu, repairs) {
            Ok(index) => {
                self.no_tunnel = None;
                Ok(Some(index))
            }
            Err(error) if !tunnel.wanted => {
                if self.no_tunnel.replace(Instant::now()).is_none() {
                    tracing::info!(
                        error = in_full(&error),
                        "what may come by the tunnel is not taken"
                    );
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn tell(&mut self, desired: &Desired) {
        for (node, why) in &desired.unreachable {
            if self.unreachable.get(node) != Some(why) {
                tracing::warn!(node, why, "no way to the pods of a node");
            }
        }
        self.unreachable.clone_from(&desired.unreachable);
    }

    /// Logs what was not among the last errors.
    pub fn log(&mut self, errors: &[String]) {
        for error in errors.iter().filter(|e| !self.errors.contains(e)) {
            tracing::warn!(error, "node not in step");
        }
        self.errors = errors.to_vec();
    }
}

/// What others' rules and routes, and addresses of links, take of nodes' ranges.
fn of_pods(desired: &Desired, facts: &Facts) -> Vec<String> {
    let there = desired.ways.keys().map(|(_, range)| *range).collect();
    let all = &there | &desired.pods.iter().copied().collect();
    let detours = detours::rules(facts, &all).into_iter();
    let detours = detours.chain(detours::routes(facts, &there));
    let detours = detours.map(|detour| detour.text);
    let astray = astray::all(desired, facts).map(|astray| astray.to_string());
    detours.chain(astray).collect()
}

/// What people should know.
fn notes(config: &Configuration, desired: &Desired) -> Vec<String> {
    let mut notes = desired.links.refused.clone();
    notes.extend(source_ports::note(config.node.source_ports));
    let ipv6 = desired.pods.iter().any(IpNetwork::is_ipv6);
    let mtu = config.cni.mtu;
    if ipv6 && (1..LEAST_MTU_OF_IPV6).contains(&mtu) {
        notes.push(format!(
            "cni.mtu: with {mtu}, which is less than {LEAST_MTU_OF_IPV6}, new pods have no IPv6"
        ));
    }
    notes
}
