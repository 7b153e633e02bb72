//! The node, who is around it, and the Services.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use proxy_common::address::{TCP, UDP};
use weir_tests::{
    flow_table::Tuple,
    packets::{FAMILIES, Hook, Plan},
};

/// Ports that translated sources are given on a bench.
pub(crate) const SOURCE_PORTS: RangeInclusive<u16> = 20000..=20999;

/// Where clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    /// Unspecified: any address of the node.
    pub(crate) at: SocketAddr,
    pub(crate) protocol: u8,
}

/// Who serves there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frontend {
    /// Id of the Service port.
    pub(crate) service: u32,
    /// Clients outside are served like pods of this node.
    pub(crate) cluster_ip: bool,
    /// Set for clients on this node.
    pub(crate) internal: u32,
    /// Set for clients outside.
    pub(crate) external: u32,
    /// Clients outside are not told that nobody serves.
    pub(crate) external_drop: bool,
}

/// Backends of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set {
    /// Who gets new flows.
    pub(crate) slots: Vec<u32>,
    /// Who keeps those that it has.
    pub(crate) members: BTreeSet<u32>,
}

/// Something that happens to the Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A backend begins or goes on to serve.
    Serve { set: u32, backend: u32 },
    /// It terminates: nothing new for it.
    Drain { set: u32, backend: u32 },
    /// It is gone.
    Remove { set: u32, backend: u32 },
    /// A frontend appears.
    Offer(Address, Frontend),
    /// A frontend goes.
    Withdraw(Address),
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) frontends: BTreeMap<Address, Frontend>,
    pub(crate) sets: BTreeMap<u32, Set>,
    /// Never changed: ids are given out once.
    pub(crate) backends: BTreeMap<u32, Tuple>,
    /// What pods send out of the cluster leaves in the node's name.
    pub(crate) masquerades: bool,
    /// All frontends that there ever are.
    pub(crate) offers: Vec<(Address, Frontend)>,
    /// All backends that a set ever has.
    candidates: BTreeMap<u32, Vec<u32>>,
}

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The pod whose packets come in here.
    Pod(Hook),
    /// A pod of another node.
    RemotePod,
    Node,
    Elsewhere,
}

/// The plan that an address belongs to.
pub(crate) const fn plan(ip: IpAddr) -> &'static Plan {
    if ip.is_ipv6() {
        &FAMILIES[1]
    } else {
        &FAMILIES[0]
    }
}

/// Where an address lies.
pub(crate) fn place(ip: IpAddr) -> Place {
    let plan = plan(ip);
    match ip {
        ip if ip == plan.pod => Place::Pod(Hook::FromPod),
        ip if ip == plan.neighbour => Place::Pod(Hook::FromNeighbour),
        ip if ip == plan.remote_pod => Place::RemotePod,
        ip if ip == plan.node => Place::Node,
        _ => Place::Elsewhere,
    }
}

/// Whether a route leads to somebody outside. To Services' addresses there is none.
pub(crate) fn is_routed(to: IpAddr) -> bool {
    to == plan(to).outside
}

/// The unspecified address of a family.
const fn any(plan: &Plan) -> IpAddr {
    if plan.pod.is_ipv6() {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    }
}

impl World {
    /// What serves at an address: a frontend of its own, or one of all the node's addresses.
    pub(crate) fn frontend(&self, asked: Tuple) -> Option<&Frontend> {
        let mut address = Address {
            at: asked.to,
            protocol: asked.protocol,
        };
        let own = self.frontends.get(&address);
        if own.is_some() || place(asked.to.ip()) != Place::Node {
            return own;
        }
        address.at.set_ip(any(plan(asked.to.ip())));
        self.frontends.get(&address)
    }

    /// Whether a pod's packet to an address leaves in the node's name.
    pub(crate) fn is_masqueraded(&self, to: IpAddr) -> bool {
        self.masquerades && place(to) == Place::Elsewhere && is_routed(to)
    }

    /// Whether packets to a port of the node may be for more than the host's own sockets.
    pub(crate) fn port_matters(&self, port: u16) -> bool {
        SOURCE_PORTS.contains(&port) || self.port_serves(port)
    }

    /// Whether there is ever a frontend with a port that is no cluster IP, or a backend on the node.
    pub(crate) fn port_serves(&self, port: u16) -> bool {
        let mut frontends = self.offers.iter().filter(|(_, to)| !to.cluster_ip);
        let mut backends = self.backends.values().map(|backend| backend.to);
        frontends.any(|(address, _)| address.at.port() == port)
            || backends.any(|at| at.port() == port && place(at.ip()) == Place::Node)
    }

    /// The set that serves a client.
    pub(crate) fn set(&self, frontend: &Frontend, outside: bool) -> (u32, &Set) {
        let id = if outside && !frontend.cluster_ip {
            frontend.external
        } else {
            frontend.internal
        };
        (id, &self.sets[&id])
    }

    /// The same before anybody serves.
    pub(crate) fn nothing_yet(&self) -> Self {
        Self {
            frontends: BTreeMap::new(),
            sets: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// All backends that a set ever has.
    pub(crate) fn candidates(&self, set: u32) -> &[u32] {
        &self.candidates[&set]
    }

    /// Makes a change.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Serve { set, backend } => {
                let set = self.sets.entry(set).or_default();
                if !set.slots.contains(&backend) {
                    set.slots.push(backend);
                }
                set.members.insert(backend);
            }
            Change::Drain { set, backend } => {
                let set = self.sets.entry(set).or_default();
                set.slots.retain(|id| *id != backend);
            }
            Change::Remove { set, backend } => {
                let set = self.sets.entry(set).or_default();
                set.slots.retain(|id| *id != backend);
                set.members.remove(&backend);
            }
            Change::Offer(address, frontend) => {
                self.frontends.insert(address, frontend);
            }
            Change::Withdraw(address) => {
                self.frontends.remove(&address);
            }
        }
    }

    /// The Services of all tests, in both families and protocols: few backends, of which each serves several, so that
    /// flows meet.
    pub(crate) fn with_services() -> Self {
        let mut world = Self::default();
        for plan in &FAMILIES {
            for protocol in [TCP, UDP] {
                world.add_services(plan, protocol);
            }
        }
        world
    }

    fn add_services(&mut self, plan: &Plan, protocol: u8) {
        let first = u32::try_from(self.backends.len()).unwrap() + 1;
        let backends = [
            plan.pod(8080),
            plan.neighbour(8080),
            plan.neighbour(9090),
            plan.remote_pod(8080),
            plan.outside(8080),
            plan.node(9000),
        ];
        for (id, to) in (first..).zip(backends) {
            let from = SocketAddr::new(any(plan), 0);
            let backend = Tuple { protocol, from, to };
            self.backends.insert(id, backend);
        }
        let [own, near, other, far, outside, node] = [0, 1, 2, 3, 4, 5].map(|index| first + index);
        let cluster_ip = self.set_of(&[own, near, far]);
        let few = self.set_of(&[far, outside]);
        let everywhere = self.set_of(&[near, other, far]);
        let local = self.set_of(&[near, other]);
        let remote = self.set_of(&[far]);
        let host = self.set_of(&[node]);
        let node_port = |port| SocketAddr::new(any(plan), port);
        self.offer(protocol, &[plan.vip(1)], (cluster_ip, cluster_ip), true);
        self.offer(protocol, &[plan.vip(2)], (few, few), true);
        self.offer(
            protocol,
            &[plan.vip(3), node_port(30000)],
            (everywhere, local),
            false,
        );
        self.offer(
            protocol,
            &[plan.vip(4), node_port(30001)],
            (remote, remote),
            false,
        );
        self.offer(
            protocol,
            &[plan.vip(5), node_port(30002)],
            (host, host),
            false,
        );
    }

    fn set_of(&mut self, backends: &[u32]) -> u32 {
        let id = u32::try_from(self.sets.len()).unwrap() + 1;
        let set = Set {
            slots: backends.to_vec(),
            members: backends.iter().copied().collect(),
        };
        self.sets.insert(id, set);
        self.candidates.insert(id, backends.to_vec());
        id
    }

    fn offer(
        &mut self,
        protocol: u8,
        at: &[SocketAddr],
        (internal, external): (u32, u32),
        cluster_ip: bool,
    ) {
        let frontend = Frontend {
            service: 100 + u32::try_from(self.offers.len()).unwrap(),
            cluster_ip,
            internal,
            external,
            external_drop: internal != external,
        };
        for at in at {
            let address = Address { at: *at, protocol };
            self.offers.push((address, frontend));
            self.frontends.insert(address, frontend);
        }
    }
}
