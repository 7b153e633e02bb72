//! A node of a world with a datapath of its own, and Services written straight into its maps.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};
use proxy_agent::datapath::{
    Capacities, Datapath, DatapathConfig, Maps, Pins, Reader, Table as _, TcPreference, Telling,
    bpfsys,
};
use proxy_common::{
    address::{TCP, UDP, address4, address6},
    backends::{MemberKey, SlotKey},
    counters::reason_name,
    frontends::{BackendSet, FLAG_CLUSTER_IP, FLAG_MEMBERS, Frontend},
    node::{ADDRESS_LOCAL, ADDRESS_NODE_PORT, NODE_SOCKET_BALANCING, NodeConfig},
};

use crate::{
    family::{Family as _, Four, Six},
    world::Node,
};

/// How the datapath of a node of a world is opened: on its own bpffs, below its own cgroup.
pub fn config(node: &Node) -> DatapathConfig {
    DatapathConfig {
        bpffs: node.file("/sys/fs/bpf"),
        instance: node.name().to_owned(),
        cgroup_root: node.cgroup_root().path().to_owned(),
        capacities: Capacities::small(),
        tc: TcPreference::Auto,
        told: Telling::NOTHING,
        clients: Vec::new(),
    }
}

/// Reads the maps that the agent of a node has pinned.
pub fn reader(node: &Node) -> Result<Reader> {
    Ok(Reader::open(Pins::new(
        &node.file("/sys/fs/bpf"),
        "default",
    )?)?)
}

/// Packets that the programs of a node have dropped, by reason; reasons that did not occur are left out.
pub fn drops(node: &Node) -> Result<BTreeMap<&'static str, u64>> {
    let drops = reader(node)?.maps().drops.all()?.into_iter();
    Ok(drops
        .filter(|(_, counter)| counter.packets > 0)
        .map(|(reason, counter)| (reason_name(reason), counter.packets))
        .collect())
}

/// Opens the datapath of a node, tells it what the node is, attaches the socket programs.
pub fn open(node: &Node) -> Result<Datapath> {
    let datapath = Datapath::open(&config(node))?;
    let probe = node.udp(SocketAddr::new(node.ipv4().into(), 0))?;
    let mut maps = datapath.maps().clone();
    let described = NodeConfig {
        flags: NODE_SOCKET_BALANCING,
        netns_cookie: bpfsys::netns_cookie_of(&probe).context("read the netns cookie")?,
        address4: address4(node.ipv4().octets()),
        address6: address6(node.ipv6().octets()),
        ..NodeConfig::default()
    };
    maps.node_config.set(&0, &described)?;
    let flags = ADDRESS_LOCAL | ADDRESS_NODE_PORT;
    maps.node_addresses4
        .set(&address4(node.ipv4().octets()), &flags)?;
    maps.node_addresses6
        .set(&address6(node.ipv6().octets()), &flags)?;
    datapath.attach_sockets()?;
    Ok(datapath)
}

/// A Service port, as it is written into the maps.
#[derive(Clone, Debug)]
pub struct ServicePort {
    /// Id of the Service port, also of its backend set; its backends count up from a thousand times this.
    pub id: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// Where clients connect; port with an unspecified address for a `NodePort`.
    pub frontends: Vec<SocketAddr>,
    /// Who serves.
    pub backends: Vec<SocketAddr>,
    /// `sessionAffinity` time-out in seconds; 0 for none.
    pub affinity_seconds: u32,
    /// `FLAG_*` bits.
    pub flags: u32,
}

impl ServicePort {
    /// A TCP port.
    pub fn tcp(id: u32, frontend: SocketAddr, backends: &[SocketAddr]) -> Self {
        Self {
            id,
            protocol: TCP,
            frontends: vec![frontend],
            backends: backends.to_vec(),
            affinity_seconds: 0,
            flags: FLAG_CLUSTER_IP,
        }
    }

    /// A UDP port.
    pub fn udp(id: u32, frontend: SocketAddr, backends: &[SocketAddr]) -> Self {
        Self {
            protocol: UDP,
            flags: FLAG_CLUSTER_IP | FLAG_MEMBERS,
            ..Self::tcp(id, frontend, backends)
        }
    }

    /// Id of a backend of this port.
    pub fn backend_id(&self, index: usize) -> u32 {
        self.id * 1000 + index as u32
    }

    /// Writes backends, slots, members, then the frontends: what is referred to is there first.
    pub fn write(&self, maps: &Maps) -> Result<()> {
        let mut maps = maps.clone();
        for (index, at) in self.backends.iter().enumerate() {
            self.write_backend(&mut maps, index, *at)?;
        }
        let set = BackendSet {
            id: self.id,
            count: self.backends.len() as u32,
        };
        let frontend = Frontend {
            service: self.id,
            flags: self.flags,
            affinity_seconds: self.affinity_seconds,
            maglev: 0,
            internal: set,
            external: set,
        };
        for at in &self.frontends {
            self.write_frontend(&mut maps, *at, &frontend)?;
        }
        Ok(())
    }

    fn write_backend(&self, maps: &mut Maps, index: usize, at: SocketAddr) -> Result<()> {
        let id = self.backend_id(index);
        let (port, protocol) = (at.port(), self.protocol);
        match at.ip() {
            IpAddr::V4(ip) => {
                let backend = Four::backend(address4(ip.octets()), port, protocol);
                maps.backends4.set(&id, &backend)?;
            }
            IpAddr::V6(ip) => {
                let backend = Six::backend(address6(ip.octets()), port, protocol);
                maps.backends6.set(&id, &backend)?;
            }
        }
        let (set, slot) = (self.id, index as u32);
        maps.backend_slots.set(&SlotKey { set, index: slot }, &id)?;
        maps.backend_members
            .set(&MemberKey { set, backend: id }, &slot)?;
        Ok(())
    }

    fn write_frontend(&self, maps: &mut Maps, at: SocketAddr, frontend: &Frontend) -> Result<()> {
        let (port, protocol) = (at.port(), self.protocol);
        match at.ip() {
            IpAddr::V4(ip) => {
                let key = Four::frontend(address4(ip.octets()), port, protocol);
                maps.frontends4.set(&key, frontend)?;
            }
            IpAddr::V6(ip) => {
                let key = Six::frontend(address6(ip.octets()), port, protocol);
                maps.frontends6.set(&key, frontend)?;
            }
        }
        Ok(())
    }
}
