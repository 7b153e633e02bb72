//! Filling the maps: the node, its pods, and Services.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, HashMap, MapData},
};
use proxy_common::{
    address::{Address4, Address6},
    backends::{MEMBER_LINGERS, MemberKey, SlotKey},
    endpoints::Endpoint,
    frontends::{BackendSet, FLAG_CLUSTER_IP, FLAG_MEMBERS, Frontend},
    host::HOST_DEVICE,
    node::{ADDRESS_HOST_PORT, ADDRESS_LOCAL, ADDRESS_NODE_PORT, NODE_FORWARD_BPF, NodeConfig},
    policy::{peers::PEER_POD, words::ROW_ALLOW_ALL},
    vips::{VIP_CLUSTER_IP, VIP_SERVED},
};

use super::{
    bench::{Bench, NEIGHBOUR, POD, index},
    plan::{FAMILIES, V4, V6},
};
use crate::family::{Family, Four, Six};

impl Bench {
    /// A hash map of the object.
    pub fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> Result<HashMap<&mut MapData, K, V>> {
        let map = self
            .ebpf
            .map_mut(name)
            .with_context(|| format!("no map {name}"))?;
        HashMap::try_from(map).with_context(|| format!("type of {name}"))
    }

    /// An array of the object.
    pub fn array<V: Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>> {
        let map = self
            .ebpf
            .map_mut(name)
            .with_context(|| format!("no map {name}"))?;
        Array::try_from(map).with_context(|| format!("type of {name}"))
    }

    /// The node and its pods.
    pub(super) fn describe(&mut self) -> Result<()> {
        self.configure(NODE_FORWARD_BPF)?;
        for plan in FAMILIES {
            let flags = ADDRESS_LOCAL | ADDRESS_NODE_PORT | ADDRESS_HOST_PORT;
            self.node_address(plan.node, flags)?;
            self.peer(plan.remote_pod, 0, PEER_POD)?;
        }
        for (endpoint, name, own) in [
            (POD, "pod1", [V4.pod, V6.pod]),
            (NEIGHBOUR, "pod2", [V4.neighbour, V6.neighbour]),
        ] {
            self.pod(endpoint, index(name)?, own)?;
            self.policy(endpoint, ROW_ALLOW_ALL, ROW_ALLOW_ALL)?;
        }
        Ok(())
    }

    /// Gives the node an address.
    pub fn node_address(&mut self, address: IpAddr, flags: u32) -> Result<()> {
        self.node_address_of::<Four>(address, flags)?;
        self.node_address_of::<Six>(address, flags)
    }

    fn node_address_of<F: Family>(&mut self, address: IpAddr, flags: u32) -> Result<()> {
        if let Some(address) = F::address(address) {
            self.hash::<F::Address, u32>(&F::map("NODE_ADDRESSES"))?
                .insert(address, flags, 0)?;
        }
        Ok(())
    }

    fn pod(&mut self, id: u32, ifindex: u32, own: [IpAddr; 2]) -> Result<()> {
        let (address4, address6) = both(own)?;
        let (pod_mac, host_mac, flags) = ([2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2], 0);
        let endpoint = Endpoint {
            ifindex,
            address4,
            address6,
            pod_mac,
            host_mac,
            flags,
        };
        self.array("ENDPOINTS")?.set(id, endpoint, 0)?;
        self.hash("INTERFACES")?.insert(ifindex, id, 0)?;
        self.hash::<Address4, u32>(&Four::map("LOCAL_PODS"))?
            .insert(address4, id, 0)?;
        self.hash::<Address6, u32>(&Six::map("LOCAL_PODS"))?
            .insert(address6, id, 0)?;
        Ok(())
    }

    /// Sets the node's flags.
    pub fn configure(&mut self, flags: u32) -> Result<()> {
        let (address4, address6) = both([V4.node, V6.node])?;
        let config = NodeConfig {
            flags,
            host_device: index(HOST_DEVICE)?,
            address4,
            address6,
            source_port_min: 20000,
            source_port_max: 20999,
            ..NodeConfig::default()
        };
        self.array("NODE_CONFIG")?.set(0, config, 0)?;
        Ok(())
    }

    /// Sets the ports of translated sources, both ends included.
    pub fn source_ports(&mut self, first: u16, last: u16) -> Result<()> {
        let mut map = self.array("NODE_CONFIG")?;
        let mut config: NodeConfig = map.get(&0, 0)?;
        (config.source_port_min, config.source_port_max) = (first, last);
        map.set(0, config, 0)?;
        Ok(())
    }

    /// Adds a Service port with its own set of backends; an unspecified address makes it a `NodePort`.
    pub fn service(
        &mut self,
        id: u32,
        at: SocketAddr,
        protocol: u8,
        backends: &[SocketAddr],
        flags: u32,
    ) -> Result<()> {
        for (index, backend) in (0..).zip(backends) {
            let number = id * 1000 + index + 1;
            self.backend::<Four>(number, *backend, protocol)?;
            self.backend::<Six>(number, *backend, protocol)?;
            self.hash("BACKEND_SLOTS")?
                .insert(SlotKey { set: id, index }, number, 0)?;
            let member = MemberKey {
                set: id,
                backend: number,
            };
            self.hash("BACKEND_MEMBERS")?.insert(member, index, 0)?;
        }
        let kind = match flags {
            0 if !at.ip().is_unspecified() => FLAG_CLUSTER_IP,
            flags => flags,
        };
        let set = BackendSet {
            id,
            count: u32::try_from(backends.len())?,
        };
        let frontend = Frontend {
            service: id,
            flags: kind | FLAG_MEMBERS,
            affinity_seconds: 0,
            maglev: 0,
            internal: set,
            external: set,
        };
        self.port(at.port())?;
        for backend in backends {
            self.port(backend.port())?;
        }
        self.frontend::<Four>(at, protocol, frontend)?;
        self.frontend::<Six>(at, protocol, frontend)?;
        if !at.ip().is_unspecified() {
            let of_cluster = kind & FLAG_CLUSTER_IP != 0;
            let bits = if of_cluster { VIP_CLUSTER_IP } else { 0 };
            let served = if backends.is_empty() { 0 } else { VIP_SERVED };
            self.vip::<Four>(at.ip(), bits | served)?;
            self.vip::<Six>(at.ip(), bits | served)?;
        }
        self.services_changed()
    }

    fn vip<F: Family>(&mut self, address: IpAddr, bits: u32) -> Result<()> {
        if let Some(address) = F::address(address) {
            let mut vips = self.hash::<F::Address, u32>(&F::map("VIPS"))?;
            let known = vips.get(&address, 0).unwrap_or_default();
            vips.insert(address, known | bits, 0)?;
        }
        Ok(())
    }

    /// Notes a port that a frontend or a backend of the node may have.
    fn port(&mut self, port: u16) -> Result<()> {
        let mut ports = self.array::<u64>("NODE_PORTS")?;
        let word = u32::from(port / 64);
        let bits = ports.get(&word, 0)? | 1 << (port % 64);
        Ok(ports.set(word, bits, 0)?)
    }

    /// Tells flows of datagrams that Services have changed.
    fn services_changed(&mut self) -> Result<()> {
        let mut epoch = self.array::<u32>("SERVICE_EPOCH")?;
        let next = epoch.get(&0, 0)? + 1;
        Ok(epoch.set(0, next, 0)?)
    }

    fn backend<F: Family>(&mut self, number: u32, at: SocketAddr, protocol: u8) -> Result<()> {
        if let Some(address) = F::address(at.ip()) {
            let value = F::backend(address, at.port(), protocol);
            self.hash::<u32, F::Backend>(&F::map("BACKENDS"))?
                .insert(number, value, 0)?;
        }
        Ok(())
    }

    fn frontend<F: Family>(&mut self, at: SocketAddr, protocol: u8, to: Frontend) -> Result<()> {
        if let Some(address) = F::address(at.ip()) {
            let key = F::frontend(address, at.port(), protocol);
            self.hash::<F::FrontendKey, Frontend>(&F::map("FRONTENDS"))?
                .insert(key, to, 0)?;
        }
        Ok(())
    }

    /// Makes a frontend lead a client to the backend that it had in the last so many seconds.
    pub fn stick(&mut self, at: SocketAddr, protocol: u8, seconds: u32) -> Result<()> {
        self.stick_of::<Four>(at, protocol, seconds)?;
        self.stick_of::<Six>(at, protocol, seconds)
    }

    fn stick_of<F: Family>(&mut self, at: SocketAddr, protocol: u8, seconds: u32) -> Result<()> {
        if let Some(address) = F::address(at.ip()) {
            let key = F::frontend(address, at.port(), protocol);
            let name = F::map("FRONTENDS");
            let mut frontends = self.hash::<F::FrontendKey, Frontend>(&name)?;
            let mut frontend = frontends.get(&key, 0)?;
            frontend.affinity_seconds = seconds;
            frontends.insert(key, frontend, 0)?;
        }
        Ok(())
    }

    /// Removes a frontend.
    pub fn withdraw(&mut self, at: SocketAddr, protocol: u8) -> Result<()> {
        self.withdraw_of::<Four>(at, protocol)?;
        self.withdraw_of::<Six>(at, protocol)?;
        self.services_changed()
    }

    fn withdraw_of<F: Family>(&mut self, at: SocketAddr, protocol: u8) -> Result<()> {
        if let Some(address) = F::address(at.ip()) {
            let key = F::frontend(address, at.port(), protocol);
            self.hash::<F::FrontendKey, Frontend>(&F::map("FRONTENDS"))?
                .remove(&key)?;
        }
        Ok(())
    }

    /// Gives one slot of a Service's set the backend of another.
    pub fn replace_slot(&mut self, id: u32, index: u32, by: u32) -> Result<()> {
        let backend = id * 1000 + by + 1;
        self.hash("BACKEND_SLOTS")?
            .insert(SlotKey { set: id, index }, backend, 0)?;
        Ok(())
    }

    /// A backend of a Service terminates: it keeps its flows, and gets no new ones.
    pub fn linger(&mut self, id: u32, index: u32) -> Result<()> {
        let member = MemberKey {
            set: id,
            backend: id * 1000 + index + 1,
        };
        self.hash("BACKEND_MEMBERS")?
            .insert(member, MEMBER_LINGERS, 0)?;
        self.services_changed()
    }

    /// Takes a backend out of a Service's set of members.
    pub fn remove_member(&mut self, id: u32, index: u32) -> Result<()> {
        let member = MemberKey {
            set: id,
            backend: id * 1000 + index + 1,
        };
        self.hash::<_, u32>("BACKEND_MEMBERS")?.remove(&member)?;
        self.services_changed()
    }
}

/// An address of each family.
pub(super) fn both([v4, v6]: [IpAddr; 2]) -> Result<(Address4, Address6)> {
    Four::address(v4)
        .zip(Six::address(v6))
        .context("one of each family")
}
