//! What the maps should hold for one Service: a value, made from the observed objects alone.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnetwork::IpNetwork;
use proxy_common::frontends::{
    FLAG_CLUSTER_IP, FLAG_EXTERNAL_DROP, FLAG_EXTERNAL_IP, FLAG_EXTERNAL_LOCAL, FLAG_INTERNAL_DROP,
    FLAG_LOAD_BALANCER, FLAG_MEMBERS, FLAG_NODE_PORT, FLAG_SOURCES,
};

use super::{
    api_servers::ApiServers,
    choice::{Choice, Server, choose},
    key::FrontendKey,
    sources,
};
use crate::model::{
    EndpointSlice, ForwardingMode, Node, Protocol, Service, ServicePort, ServiceType,
};

/// What of this node matters to Services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Its internal address of each family, IPv4's first.
    pub addresses: [Option<IpAddr>; 2],
    /// `spec.externalIPs` are not served.
    pub no_external_ips: bool,
    /// How backends on other nodes are reached, where the Service does not say.
    pub forwarding: ForwardingMode,
    /// What no Service may have as an external address.
    pub api_servers: ApiServers,
}

impl Place {
    /// As its Node object has it.
    pub fn of(node: &Node) -> Self {
        let first = |ipv6| {
            node.internal_ips
                .iter()
                .find(|ip| ip.is_ipv6() == ipv6)
                .copied()
        };
        Self {
            zone: node.zone.as_deref().map(Arc::from),
            addresses: [first(false), first(true)],
            no_external_ips: false,
            forwarding: ForwardingMode::default(),
            api_servers: ApiServers::default(),
        }
    }
}

/// A port of a Service in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPort {
    /// Name of the port.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Family.
    pub ipv6: bool,
    /// Affinity in seconds, 0 for none.
    pub affinity_seconds: u32,
    /// Membership of backends is kept for its sets.
    pub members: bool,
    /// Who serves.
    pub choice: Choice,
    /// Who may use its frontends with `FLAG_SOURCES`.
    pub sources: BTreeSet<IpNetwork>,
    /// What clients use.
    pub frontends: Vec<DesiredFrontend>,
}

/// A frontend: its key, flags, and the sets it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredFrontend {
    /// Address, port and protocol.
    pub key: FrontendKey,
    /// `FLAG_*` bits.
    pub flags: u32,
    /// For clients on this node.
    pub internal: Scope,
    /// For packets from outside.
    pub external: Scope,
}

/// One of the two backend sets of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All endpoints, narrowed by hints.
    Cluster,
    /// Those of this node.
    Local,
}

impl DesiredPort {
    /// Who serves in a set.
    pub fn servers(&self, scope: Scope) -> &[Server] {
        match scope {
            Scope::Cluster => &self.choice.cluster,
            Scope::Local => &self.choice.local,
        }
    }

    /// Who serves what has begun, though nothing begins there: flows of datagrams stay (kube-proxy removes the state
    /// of those only whose endpoint serves no more). A connection stays anyway.
    pub fn lingering(&self, scope: Scope) -> impl Iterator<Item = &Server> {
        let serving = match self.protocol {
            Protocol::Udp => self.choice.serving.as_slice(),
            Protocol::Tcp | Protocol::Sctp => &[],
        };
        let chosen = self.servers(scope);
        let near = move |server: &&Server| scope == Scope::Cluster || server.local;
        let idle = |server: &&Server| chosen.binary_search(server).is_err();
        serving.iter().filter(near).filter(idle)
    }

    /// Whether a frontend uses a set.
    pub fn uses(&self, scope: Scope) -> bool {
        self.frontends
            .iter()
            .any(|f| f.internal == scope || f.external == scope)
    }
}

/// All ports of a Service in both families. A family without a cluster IP is not served.
pub fn service(
    service: &Service,
    slices: &[Arc<EndpointSlice>],
    place: &Place,
) -> Vec<DesiredPort> {
    if service.kind == ServiceType::ExternalName {
        return Vec::new();
    }
    let mut ports = Vec::new();
    for ipv6 in [false, true] {
        if service.cluster_ips.of(ipv6).is_none() {
            continue;
        }
        let all = service.ports.iter();
        ports.extend(all.map(|port| desired_port(service, port, ipv6, slices, place)));
    }
    ports
}

/// What of a Service is not served here, and why.
pub fn unserved(service: &Service, place: &Place) -> Vec<String> {
    let withheld = service.external_ips().len() > external_ips(service, place).len();
    let external = withheld.then(|| {
        "externalIPs: the configuration of this node has services.externalIPs off".to_owned()
    });
    let addresses = external_ips(service, place).iter();
    let addresses = addresses.chain(service.load_balancer_ips());
    let of_api = addresses.flat_map(|ip| {
        let ports = service.ports.iter();
        let taken = ports.filter(|p| place.api_servers.listen_at(*ip, p.port, p.protocol));
        taken.map(|port| {
            let at = SocketAddr::new(*ip, port.port);
            format!("{at}: an API server of this cluster listens there")
        })
    });
    external.into_iter().chain(of_api).collect()
}

fn desired_port(
    service: &Service,
    port: &ServicePort,
    ipv6: bool,
    slices: &[Arc<EndpointSlice>],
    place: &Place,
) -> DesiredPort {
    let affinity_seconds = service.affinity_seconds;
    let members = port.protocol == Protocol::Udp || affinity_seconds != 0;
    let choice = choose(port, ipv6, slices, place.zone.as_deref());
    let sources = sources::wanted(service, ipv6, place.addresses[usize::from(ipv6)]);
    let mut frontends = Vec::new();
    let forwarding = service.forwarding.unwrap_or(place.forwarding);
    let relayed = if service.external_local {
        0
    } else {
        forwarding.flags(port.protocol)
    };
    let mut add = |key, kind| {
        let kind = if kind == FLAG_CLUSTER_IP {
            kind
        } else {
            kind | relayed
        };
        let frontend = frontend(service, &choice, key, kind, members);
        if !frontends.iter().any(|f: &DesiredFrontend| f.key == key) {
            frontends.push(frontend);
        }
    };
    let key = |address: &IpAddr| FrontendKey::new(*address, port.port, port.protocol);
    let cluster_ip = service.cluster_ips.of(ipv6);
    for address in family(cluster_ip.as_slice(), ipv6) {
        add(key(address), FLAG_CLUSTER_IP);
    }
    if port.node_port != 0 {
        let key = FrontendKey::on_node(ipv6, port.node_port, port.protocol);
        add(key, FLAG_NODE_PORT);
    }
    let restricted = if sources.is_empty() { 0 } else { FLAG_SOURCES };
    let free = |address: &&IpAddr| {
        let servers = &place.api_servers;
        !servers.listen_at(**address, port.port, port.protocol)
    };
    for address in family(service.load_balancer_ips(), ipv6).filter(free) {
        add(key(address), FLAG_LOAD_BALANCER | restricted);
    }
    for address in family(external_ips(service, place), ipv6).filter(free) {
        add(key(address), FLAG_EXTERNAL_IP);
    }
    DesiredPort {
        name: Arc::clone(&port.name),
        protocol: port.protocol,
        ipv6,
        affinity_seconds,
        members,
        choice,
        sources,
        frontends,
    }
}

fn external_ips<'a>(service: &'a Service, place: &Place) -> &'a [IpAddr] {
    if place.no_external_ips {
        &[]
    } else {
        service.external_ips()
    }
}

fn family(addresses: &[IpAddr], ipv6: bool) -> impl Iterator<Item = &IpAddr> {
    let usable = move |a: &&IpAddr| a.is_ipv6() == ipv6 && !a.is_unspecified();
    addresses.iter().filter(usable)
}

/// `internalTrafficPolicy` governs cluster IPs. On the other addresses clients of this node get the whole
/// cluster, whatever the policy (they stand for the load balancer), and `externalTrafficPolicy` governs the
/// rest.
fn frontend(
    service: &Service,
    choice: &Choice,
    key: FrontendKey,
    kind: u32,
    members: bool,
) -> DesiredFrontend {
    let scope = |local| if local { Scope::Local } else { Scope::Cluster };
    let cluster_ip = kind == FLAG_CLUSTER_IP;
    let (internal, external) = if cluster_ip {
        (scope(service.internal_local), scope(service.internal_local))
    } else {
        (Scope::Cluster, scope(service.external_local))
    };
    let drops = |scope| choice.any && scope == Scope::Local && choice.local.is_empty();
    let mut flags = kind;
    for (flag, set) in [
        (FLAG_INTERNAL_DROP, drops(internal)),
        (FLAG_EXTERNAL_DROP, drops(external)),
        (FLAG_EXTERNAL_LOCAL, !cluster_ip && service.external_local),
        (FLAG_MEMBERS, members),
    ] {
        flags |= if set { flag } else { 0 };
    }
    DesiredFrontend {
        key,
        flags,
        internal,
        external,
    }
}
