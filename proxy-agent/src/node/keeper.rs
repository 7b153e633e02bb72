//! Keeps the node as it should be, driven by the main loop.

use std::{collections::BTreeMap, fs, net::IpAddr, path::PathBuf, time::Instant};

use anyhow::Context as _;
use cni_plugin::{
    heartbeat,
    ipam::file::write_json,
    node_file::{NodeFile, boot_id},
    paths::Paths,
};
use ipnetwork::IpNetwork;

use super::{
    addresses, conflist,
    desired::Desired,
    encryption::{self, Encrypted, Ready, keeper::Keeper as EncryptionKeeper},
    facts::Facts,
    host_device::{self, Leads, Published},
    install::{self, Installed},
    links::{Link, Links},
    maps::NodeMaps,
    masquerade::{Masquerade, file::Follower},
    pod_devices::PodDevices,
    reach::Reach,
    routes::{OURS, Routes},
    source_ports,
    sysctls::Sysctls,
    tunnel::{self, Tunnel, relayed::Relayed},
    ways,
};
use crate::{
    api::{
        health::FAMILIES,
        listen::ListenOn,
        messages::{MasqueradeStatus, WayStatus},
    },
    config::{Configuration, LEAST_MTU_OF_IPV6},
    datapath::Maps,
    model::{Kind, Owned, Snapshot},
    subject::Repairs,
};

/// What a sync found.
#[derive(Debug, Default)]
pub struct NodeReport {
    /// What could not be done; it is tried again by the next sync.
    pub errors: Vec<String>,
    /// The links that must have their programs, and those that are left alone; none if they are not known.
    pub links: Option<Links>,
    /// What people should know, though nothing is broken.
    pub notes: Vec<String>,
    /// Index of `weir_host`, which must have its program before it is led to.
    pub host_device: Option<u32>,
    /// Index of the tunnel's device, which must have its programs before it is set up; none if there is to be none.
    pub tunnel_device: Option<u32>,
    /// Index of the device that encrypts, which must have its programs before it is set up; none if there is to be none.
    pub encryption_device: Option<u32>,
    /// What is encrypted.
    pub encrypted: Encrypted,
    /// Whether the node encrypts, and with which key.
    pub encrypts: Ready,
    /// The tunnel as it should be; none if that is not known.
    pub tunnel: Option<Tunnel>,
    /// The way to each node's pods, by node and range.
    pub ways: BTreeMap<(String, IpNetwork), String>,
    /// Routes to other nodes' pods, which are to be set; none if they are not known.
    pub routes: Option<Routes>,
    /// What is to lead there, once Services are in force and their ranges are known.
    pub leads: Option<Leads>,
    /// What the machine has.
    pub facts: Facts,
    /// The network is usable: the Node's condition `NetworkUnavailable` is to be False.
    pub ready: bool,
    /// The node's own addresses in the maps; none if they are not known.
    pub addresses: Option<Vec<IpAddr>>,
    /// Where health check node ports are served; none if that is not known.
    pub health_checks: Option<ListenOn>,
    /// In whose name pods speak; none if it is not known.
    pub masquerade: Option<Masquerade>,
    /// Why ip-masq-agent's file cannot be read.
    pub file_error: Option<String>,
}

impl NodeReport {
    /// The way to each node's pods, for the status.
    pub fn ways(&self) -> Vec<WayStatus> {
        let ways = self.ways.iter();
        ways.map(|((node, range), way)| WayStatus {
            node: node.clone(),
            range: range.to_string(),
            way: way.clone(),
        })
        .collect()
    }

    /// In whose name pods speak, for the status.
    pub fn masquerades(&self) -> MasqueradeStatus {
        let Some(masquerade) = &self.masquerade else {
            return MasqueradeStatus::default();
        };
        let holds = [masquerade.ipv4, masquerade.ipv6];
        let families = FAMILIES.into_iter().map(str::to_owned);
        MasqueradeStatus {
            families: families.zip(holds).collect(),
            inside: masquerade.inside.len() as u64,
            problems: self.file_error.iter().cloned().collect(),
        }
    }
}

/// Keeps the node as it should be.
pub struct NodeKeeper {
    paths: Paths,
    boot_id: String,
    maps: NodeMaps,
    written: Option<NodeFile>,
    installed: Installed,
    rival: Option<String>,
    unreachable: BTreeMap<String, String>,
    errors: Vec<String>,
    ready: bool,
    reach: Reach,
    sysctls: Sysctls,
    masquerade: Follower,
    encryption: EncryptionKeeper,
    relayed: Relayed,
    devices: PodDevices,
}

impl NodeKeeper {
    /// For this configuration. A `node.json` that is there stays valid: the plugin goes on meanwhile.
    pub fn new(config: &Configuration, maps: &Maps) -> anyhow::Result<Self> {
        Ok(Self {
            paths: Paths::new(&config.run_dir),
            boot_id: boot_id().context("read boot_id")?,
            maps: NodeMaps::open(maps).context("read the node's maps")?,
            written: None,
            installed: Installed::default(),
            rival: None,
            unreachable: BTreeMap::new(),
            errors: Vec::new(),
            ready: false,
            reach: Reach::default(),
            sysctls: Sysctls::default(),
            masquerade: Follower::default(),
            encryption: EncryptionKeeper::default(),
            relayed: Relayed::of(maps),
            devices: PodDevices::find(config.cni.device),
        })
    }

    /// Compares and acts. `ready`: Services and policy are in force, pods may start; `closed`: why new ones may not, though
    /// others live.
    pub fn sync(
        &mut self,
        config: &Configuration,
        (snapshot, published): (&Snapshot, &Published),
        (closed, ready): (Option<String>, bool),
        repairs: &mut Repairs,
    ) -> NodeReport {
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
        let encrypts = self.encryption.prepare(config, repairs);
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
        if may_relay && self.relayed.need_device(&facts) {
            (desired.tunnel.relays, desired.tunnel.wanted) = (true, true);
        }
        match tunnel_device(config, &desired.tunnel, repairs) {
            Ok(index) => report.tunnel_device = index,
            Err(e) => report.errors.push(format!("{e:#}")),
        }
        let [tunnel, encryption] = [report.tunnel_device, report.encryption_device];
        let devices = [index, tunnel.unwrap_or(0)];
        desired.lead_into(tunnel, encryption, &facts);
        let written = self.maps.write(config, &desired, devices, complete);
        match written {
            Ok(0) => {}
            Ok(_) => repairs.repaired(Owned::NodeMaps, "entries of the node's maps"),
            Err(e) => report.errors.push(format!("{e:#}")),
        }
        report.addresses = Some(addresses::in_force(&self.maps));
        let names: Vec<&str> = desired.links.chosen.values().map(Link::name).collect();
        let set = self.sysctls.apply(&names, &config.conntrack, repairs);
        report.errors.extend(set);
        report.notes = notes(config, &desired, snapshot);
        self.tell(&desired);
        if ready && let Some(mut file) = desired.file.clone() {
            file.closed = closed;
            file.devices.clone_from(&self.devices.kinds);
            match self.open_to_pods(config, file, repairs) {
                Ok(()) => self.ready = true,
                Err(e) => report.errors.push(format!("{e:#}")),
            }
        }
        if ready {
            report.leads = ranges.map(|ranges| Leads::of(ranges, index, &desired.internal, &facts));
        }
        report.ready = self.ready;
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

    /// What interfaces new pods get.
    pub const fn devices(&self) -> &PodDevices {
        &self.devices
    }

    /// The maps.
    pub const fn maps(&self) -> &NodeMaps {
        &self.maps
    }

    /// Shows the plugin that the agent lives. To be called every few seconds.
    pub fn beat(&self) {
        let path = self.paths.heartbeat();
        if let Err(error) =
            fs::create_dir_all(self.paths.root()).and_then(|()| heartbeat::beat(&path))
        {
            tracing::warn!(path = %path.display(), %error, "heartbeat not written");
        }
    }

    fn open_to_pods(
        &mut self,
        config: &Configuration,
        file: NodeFile,
        repairs: &mut Repairs,
    ) -> anyhow::Result<()> {
        let path = self.paths.node();
        let is_new = self.written.as_ref() != Some(&file);
        if is_new || !path.exists() {
            write_json(&path, &file).with_context(|| format!("write {}", path.display()))?;
            match &file.closed {
                None => {
                    let device = self.devices.first();
                    tracing::info!(ranges = ?file.pod_cidrs, mtu = file.mtu, %device, "node opened to pods");
                }
                Some(why) => tracing::warn!(why, "node closed to new pods"),
            }
            if !is_new {
                repairs.repaired(Owned::NodeFile, &path.display().to_string());
            }
            self.written = Some(file);
        }
        if !config.cni.install {
            return Ok(());
        }
        self.install(config, repairs)?;
        self.tell_rival(conflist::rival(&config.cni.conf_dir, &config.cni.conf_file));
        Ok(())
    }

    /// Plugin and network configuration.
    fn install(&mut self, config: &Configuration, repairs: &mut Repairs) -> anyhow::Result<()> {
        let cni = &config.cni;
        let source: PathBuf = install::source(&cni.plugin)?;
        // Reading it all takes long: only if it is another file than the one that was installed.
        if !self.installed.is_whole(&cni.bin_dir) {
            let written = install::binary(&source, &cni.bin_dir)?;
            let before = std::mem::replace(&mut self.installed, Installed::look(&cni.bin_dir));
            if written && before != Installed::default() {
                let plugin = cni.bin_dir.join(install::PLUGIN);
                repairs.repaired(Owned::Plugin, &plugin.display().to_string());
            }
        }
        let written = conflist::write(&cni.conf_dir, &cni.conf_file, &config.run_dir)?;
        let conflist = cni.conf_dir.join(&cni.conf_file);
        let thing = conflist.display().to_string();
        repairs.keep(Owned::Conflist, &thing, "ours", written);
        Ok(())
    }

    /// Says once that another plugin's configuration comes first, and once that it does not any more.
    fn tell_rival(&mut self, rival: Option<String>) {
        if rival == self.rival {
            return;
        }
        if let Some(file) = &rival {
            let what = "another plugin's configuration comes before ours: new pods are not Weir's";
            tracing::warn!(file, "{what}");
        } else {
            tracing::info!("our network configuration comes first again");
        }
        self.rival = rival;
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

/// The device's index, if there is to be one.
fn tunnel_device(
    config: &Configuration,
    tunnel: &Tunnel,
    repairs: &mut Repairs,
) -> anyhow::Result<Option<u32>> {
    if !tunnel.wanted {
        return Ok(None);
    }
    tunnel::link::ensure(config.tunnel.port, tunnel.mtu, repairs).map(Some)
}

/// What people should know.
fn notes(config: &Configuration, desired: &Desired, snapshot: &Snapshot) -> Vec<String> {
    let mut notes = desired.links.refused.clone();
    notes.extend(desired.addresses.too_large.iter().map(|range| {
        format!("{range} is local by a route, but too large for each of its addresses to serve")
    }));
    notes.extend(source_ports::note(config.node.source_ports));
    let ipv6 = desired.pods.iter().any(IpNetwork::is_ipv6);
    let mtu = config.cni.mtu;
    if ipv6 && (1..LEAST_MTU_OF_IPV6).contains(&mtu) {
        notes.push(format!(
            "cni.mtu: with {mtu}, which is less than {LEAST_MTU_OF_IPV6}, new pods have no IPv6"
        ));
    }
    let nodes = snapshot.nodes.values();
    notes.extend(nodes.flat_map(|node| {
        let mistakes = [ways::mistake(node), encryption::mistake(node)];
        mistakes.into_iter().flatten()
    }));
    notes
}
