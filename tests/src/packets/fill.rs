//! Filling the maps, and reading the flows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, MapData, lpm_trie::Key},
};
use proxy_common::{
    address::{Address4, Address6, address4, address6, octets4, octets6},
    backends::{Backend4, Backend6, MemberKey, SlotKey},
    conntrack::{Flow4, Flow6, FlowKey4, FlowKey6, FlowState},
    endpoints::{Endpoint, LocalPod},
    frontends::{BackendSet, FLAG_CLUSTER_IP, FLAG_MEMBERS, Frontend, FrontendKey4, FrontendKey6},
    node::{ADDRESS_LOCAL, ADDRESS_NODE_PORT, NODE_FORWARD_BPF, NodeConfig},
    policy::{
        cells::{Cell, LIST, ROW_STRIDE},
        intervals::{Interval, IntervalBlock},
        peers::{CidrKey4, CidrKey6, PEER_POD, Peer, PeerKey4, PeerKey6},
        words::{PolicyWord, ROW_ALLOW_ALL},
    },
};

use super::{
    bench::{Bench, NEIGHBOUR, POD, index},
    plan::{FAMILIES, V4, V6},
};

/// A flow's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is known of it.
    pub state: FlowState,
    /// Source and destination into which packets are rewritten.
    pub rewrite: (SocketAddr, SocketAddr),
    /// It is in `NEW_FLOWS`.
    pub new: bool,
}

/// A cell that an interval list decides.
pub fn list(block: u32) -> u64 {
    Cell {
        kind: LIST,
        list: block,
        cookie: 0,
    }
    .pack()
}

fn v4(address: IpAddr) -> Option<Address4> {
    match address {
        IpAddr::V4(address) => Some(address4(address.octets())),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Address6> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address6(address.octets())),
    }
}

fn socket4(address: Address4, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::from(octets4(address)).into(), u16::from_be(port))
}

fn socket6(address: Address6, port: u16) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(octets6(address)).into(), u16::from_be(port))
}

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
            let flags = ADDRESS_LOCAL | ADDRESS_NODE_PORT;
            if let Some(node) = v4(plan.node) {
                self.hash("NODE_ADDRESSES4")?.insert(node, flags, 0)?;
            }
            if let Some(node) = v6(plan.node) {
                self.hash::<Address6, u32>("NODE_ADDRESSES6")?
                    .insert(node, flags, 0)?;
            }
            self.peer(plan.remote_pod, 0, PEER_POD)?;
        }
        for (endpoint, name, own4, own6) in [
            (POD, "pod1", V4.pod, V6.pod),
            (NEIGHBOUR, "pod2", V4.neighbour, V6.neighbour),
        ] {
            self.pod(endpoint, index(name)?, own4, own6)?;
            self.policy(endpoint, ROW_ALLOW_ALL, ROW_ALLOW_ALL)?;
        }
        Ok(())
    }

    fn pod(&mut self, id: u32, ifindex: u32, own4: IpAddr, own6: IpAddr) -> Result<()> {
        let (address4, address6) = v4(own4).zip(v6(own6)).context("one of each family")?;
        let (pod_mac, host_mac, flags) = ([2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2], 0);
        let endpoint = Endpoint {
            id,
            address4,
            address6,
            pod_mac,
            host_mac,
            flags,
        };
        self.hash("ENDPOINTS")?.insert(ifindex, endpoint, 0)?;
        let pod = LocalPod {
            ifindex,
            endpoint: id,
            pod_mac,
            host_mac,
            flags,
        };
        self.hash("LOCAL_PODS4")?.insert(address4, pod, 0)?;
        self.hash::<Address6, LocalPod>("LOCAL_PODS6")?
            .insert(address6, pod, 0)?;
        Ok(())
    }

    /// Sets the node's flags.
    pub fn configure(&mut self, flags: u32) -> Result<()> {
        let (address4, address6) = v4(V4.node).zip(v6(V6.node)).context("one of each family")?;
        let config = NodeConfig {
            flags,
            uplink: index("net0")?,
            address4,
            address6,
            source_port_min: 61000,
            source_port_max: 61999,
            ..NodeConfig::default()
        };
        self.array("NODE_CONFIG")?.set(0, config, 0)?;
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
        let set = BackendSet {
            id,
            count: u32::try_from(backends.len())?,
        };
        for (index, backend) in (0..).zip(backends) {
            let number = id * 1000 + index + 1;
            let port = backend.port().to_be();
            if let Some(address) = v4(backend.ip()) {
                let value = Backend4 {
                    address,
                    port,
                    protocol,
                    flags: 0,
                };
                self.hash("BACKENDS4")?.insert(number, value, 0)?;
            }
            if let Some(address) = v6(backend.ip()) {
                let value = Backend6 {
                    address,
                    port,
                    protocol,
                    flags: 0,
                };
                self.hash("BACKENDS6")?.insert(number, value, 0)?;
            }
            self.hash("BACKEND_SLOTS")?
                .insert(SlotKey { set: id, index }, number, 0)?;
            let member = MemberKey {
                set: id,
                backend: number,
            };
            self.hash("BACKEND_MEMBERS")?.insert(member, index, 0)?;
        }
        let cluster = if at.ip().is_unspecified() {
            0
        } else {
            FLAG_CLUSTER_IP
        };
        let frontend = Frontend {
            service: id,
            flags: flags | FLAG_MEMBERS | if flags == 0 { cluster } else { 0 },
            affinity_seconds: 0,
            pad: 0,
            internal: set,
            external: set,
        };
        let port = at.port().to_be();
        if let Some(address) = v4(at.ip()) {
            let key = FrontendKey4 {
                address,
                port,
                protocol,
                pad: 0,
            };
            self.hash("FRONTENDS4")?.insert(key, frontend, 0)?;
        }
        if let Some(address) = v6(at.ip()) {
            let key = FrontendKey6 {
                address,
                port,
                protocol,
                pad: 0,
            };
            self.hash("FRONTENDS6")?.insert(key, frontend, 0)?;
        }
        Ok(())
    }

    /// Takes a backend out of a Service's set of members.
    pub fn remove_member(&mut self, id: u32, index: u32) -> Result<()> {
        let member = MemberKey {
            set: id,
            backend: id * 1000 + index + 1,
        };
        self.hash::<_, u32>("BACKEND_MEMBERS")?.remove(&member)?;
        Ok(())
    }

    /// Commits the policy of the pod (1) or of the other pod (2), under a new epoch.
    pub fn policy(&mut self, endpoint: u32, ingress_row: u32, egress_row: u32) -> Result<()> {
        self.epoch += 1;
        let word = PolicyWord {
            ingress_row,
            egress_row,
            side: 0,
            epoch: self.epoch,
        };
        self.array("POLICY_WORDS")?.set(endpoint, word.pack(), 0)?;
        Ok(())
    }

    /// Writes a row: the cells of its classes.
    pub fn row(&mut self, row: u32, cells: &[u64]) -> Result<()> {
        let mut map = self.array("POLICY_CELLS")?;
        map.set(row * ROW_STRIDE, cells.len() as u64, 0)?;
        for (class, cell) in (1..).zip(cells) {
            map.set(row * ROW_STRIDE + class, *cell, 0)?;
        }
        Ok(())
    }

    /// Writes a block of intervals; what is in none is denied.
    pub fn intervals(&mut self, block: u32, allowed: &[Interval], next: u32) -> Result<()> {
        let mut value = IntervalBlock {
            count: u8::try_from(allowed.len())?,
            default_verdict: 0,
            pad: 0,
            default_cookie: 0,
            next,
            pad2: 0,
            intervals: Default::default(),
        };
        value.intervals[..allowed.len()].copy_from_slice(allowed);
        self.array("INTERVALS")?.set(block, value, 0)?;
        Ok(())
    }

    /// The class of an address.
    pub fn peer(&mut self, address: IpAddr, class: u32, flags: u32) -> Result<()> {
        let (side, peer) = (0, Peer { class, flags });
        if let Some(address) = v4(address) {
            self.hash("PEERS4")?
                .insert(PeerKey4 { side, address }, peer, 0)?;
        }
        if let Some(address) = v6(address) {
            self.hash("PEERS6")?
                .insert(PeerKey6 { side, address }, peer, 0)?;
        }
        Ok(())
    }

    /// The class of all addresses that nothing else names.
    pub fn everybody(&mut self, class: u32) -> Result<()> {
        let (side, peer) = (0, Peer { class, flags: 0 });
        let map = self.ebpf.map_mut("CIDRS4").context("no map CIDRS4")?;
        let key = Key::new(32, CidrKey4 { side, address: 0 });
        LpmTrie::try_from(map)?.insert(&key, peer, 0)?;
        let map = self.ebpf.map_mut("CIDRS6").context("no map CIDRS6")?;
        let key = Key::new(
            32,
            CidrKey6 {
                side,
                address: [0; 4],
            },
        );
        LpmTrie::try_from(map)?.insert(&key, peer, 0)?;
        Ok(())
    }

    /// The entry of a flow in a scope (0 is the node), from its local side.
    pub fn flow(
        &mut self,
        scope: u32,
        local: SocketAddr,
        remote: SocketAddr,
        protocol: u8,
    ) -> Result<Option<Entry>> {
        let (local_port, remote_port) = (local.port().to_be(), remote.port().to_be());
        for (family, new) in [("CONNTRACK", false), ("NEW_FLOWS", true)] {
            if let Some((local, remote)) = v4(local.ip()).zip(v4(remote.ip())) {
                let key = FlowKey4 {
                    scope,
                    local,
                    remote,
                    local_port,
                    remote_port,
                    protocol,
                    pad: [0; 3],
                };
                if let Ok(Flow4 { state, rewrite: to }) =
                    self.hash(&format!("{family}4"))?.get(&key, 0)
                {
                    let rewrite = (
                        socket4(to.source, to.source_port),
                        socket4(to.destination, to.destination_port),
                    );
                    return Ok(Some(Entry {
                        state,
                        rewrite,
                        new,
                    }));
                }
            }
            if let Some((local, remote)) = v6(local.ip()).zip(v6(remote.ip())) {
                let key = FlowKey6 {
                    scope,
                    local,
                    remote,
                    local_port,
                    remote_port,
                    protocol,
                    pad: [0; 3],
                };
                if let Ok(Flow6 { state, rewrite: to }) =
                    self.hash(&format!("{family}6"))?.get(&key, 0)
                {
                    let rewrite = (
                        socket6(to.source, to.source_port),
                        socket6(to.destination, to.destination_port),
                    );
                    return Ok(Some(Entry {
                        state,
                        rewrite,
                        new,
                    }));
                }
            }
        }
        Ok(None)
    }
}
