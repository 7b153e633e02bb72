//! Which frontends there must be, and who serves them: from the Service and `EndpointSlice` API, `pkg/proxy/topology.go`
//! and `endpointslicecache.go`, KEP-1669, KEP-2086, KEP-2433, KEP-3015 and KEP-1860.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::{
    api::{Id, Kind},
    model::{HERE, Model, labels, list, number, parsed, text},
    sources::{Sources, balancers},
};

const FOREIGN: [&str; 2] = [
    "service.kubernetes.io/service-proxy-name",
    "service.kubernetes.io/headless",
];

/// A frontend as somebody wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) service: String,
    /// Of the Service object.
    pub(crate) uid: String,
    /// The Service; none for a pod's `hostPort`, which gives way to one.
    pub(crate) id: Option<Id>,
    pub(crate) kind: &'static str,
    pub(crate) internal: Served,
    pub(crate) external: Served,
    pub(crate) affinity: u16,
    /// Whom it serves; none: everybody.
    pub(crate) sources: BTreeSet<IpNetwork>,
    /// Slices contradict each other about who is local, near or serving; nobody says which one counts.
    pub(crate) unclear: bool,
}

/// Who serves, and what becomes of connections if nobody does.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    pub(crate) backends: Vec<String>,
    pub(crate) otherwise: &'static str,
}

/// Everything about Services.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// By frontend.
    pub(crate) claims: BTreeMap<String, Vec<Claim>>,
    pub(crate) sources: Sources,
    /// Backends that nothing begins at, but whose flows of datagrams stay.
    pub(crate) lingering: BTreeSet<String>,
    /// Whether each server is local, by all who say so. It is marked once, for all Services.
    pub(crate) local: BTreeMap<SocketAddr, BTreeSet<bool>>,
}

/// An endpoint with a port of a Service port.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the API's conditions")]
struct Endpoint {
    at: SocketAddr,
    local: bool,
    ready: bool,
    serving: bool,
    terminating: bool,
    nodes: Vec<String>,
    zones: Vec<String>,
}

impl Model {
    /// What the maps of Services must hold.
    pub(crate) fn services(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for (id, service) in self.all(Kind::Service) {
            if !is_foreign(service) && text(service, "/spec/type") != "ExternalName" {
                self.service(id, service, &mut wanted);
            }
        }
        self.host_ports(&mut wanted);
        wanted
    }

    fn service(&self, id: &Id, service: &Value, wanted: &mut Wanted) {
        let cluster_ips = addresses(list(service, "/spec/clusterIPs"));
        for ipv6 in [false, true] {
            let Some(cluster_ip) = cluster_ips.iter().find(|ip| ip.is_ipv6() == ipv6) else {
                continue;
            };
            for port in list(service, "/spec/ports") {
                self.port(id, service, port, *cluster_ip, wanted);
            }
        }
    }

    fn port(
        &self,
        id: &Id,
        service: &Value,
        port: &Value,
        cluster_ip: IpAddr,
        wanted: &mut Wanted,
    ) {
        let ipv6 = cluster_ip.is_ipv6();
        let (endpoints, unclear) = self.endpoints(id, port, ipv6);
        for endpoint in &endpoints {
            let said = wanted.local.entry(endpoint.at).or_default();
            said.insert(endpoint.local);
        }
        let any = endpoints.iter().any(|e| e.ready || e.closing());
        let cluster = self.cluster(&endpoints);
        let near: Vec<Endpoint> = endpoints.iter().filter(|e| e.local).cloned().collect();
        let local = ready_or_closing(&near, |_| true);
        let set = |is_local: bool| Served {
            otherwise: if is_local && any && local.is_empty() {
                "drop"
            } else {
                "reject"
            },
            backends: if is_local {
                local.clone()
            } else {
                cluster.clone()
            },
        };
        let at_home = text(service, "/spec/internalTrafficPolicy") == "Local";
        let from_outside = text(service, "/spec/externalTrafficPolicy") == "Local";
        let affinity = match text(service, "/spec/sessionAffinity") {
            "ClientIP" => seconds(service),
            _ => 0,
        };
        let name = match text(port, "/name") {
            "" => format!("{}/{}", id.namespace, id.name),
            name => format!("{}/{}:{name}", id.namespace, id.name),
        };
        let sources = self.sources(service, ipv6);
        let ranges = sources.iter().map(|range| (name.clone(), *range));
        wanted.sources.extend(ranges);
        let mut mine = BTreeMap::new();
        for (frontend, kind) in frontends(service, port, cluster_ip) {
            let outside = kind != "ClusterIP";
            let claim = Claim {
                service: name.clone(),
                uid: text(service, "/metadata/uid").to_owned(),
                id: Some(id.clone()),
                kind,
                internal: set(!outside && at_home),
                external: set(if outside { from_outside } else { at_home }),
                affinity,
                sources: if kind == "LoadBalancer" {
                    sources.clone()
                } else {
                    BTreeSet::new()
                },
                unclear,
            };
            mine.entry(frontend).or_insert(claim);
        }
        if protocol(port) == "UDP" {
            wanted
                .lingering
                .extend(lingering(&endpoints, mine.values()));
        }
        for (frontend, claim) in mine {
            wanted.claims.entry(frontend).or_default().push(claim);
        }
    }

    /// Ready endpoints that hints allow, else those that serve while they end.
    fn cluster(&self, endpoints: &[Endpoint]) -> Vec<String> {
        let ready: Vec<&Endpoint> = endpoints.iter().filter(|e| e.ready).collect();
        let zone = self.nodes.get(HERE).map_or("", |known| known.zone.as_str());
        let here = |e: &Endpoint| e.nodes.iter().any(|node| node == HERE);
        let near = |e: &Endpoint| e.zones.iter().any(|z| z == zone);
        let by_node = ready.iter().all(|e| !e.nodes.is_empty()) && ready.iter().any(|e| here(e));
        let by_zone = ready.iter().all(|e| !e.zones.is_empty()) && ready.iter().any(|e| near(e));
        ready_or_closing(endpoints, |e| match (by_node, by_zone) {
            (true, _) => here(e),
            (false, true) => near(e),
            (false, false) => true,
        })
    }

    /// One for each address and port: of several, one that does not end, then one that is ready, then one that is local.
    fn endpoints(&self, service: &Id, port: &Value, ipv6: bool) -> (Vec<Endpoint>, bool) {
        let mut found: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
        let mut unclear = false;
        for endpoint in self.slices(service, ipv6).flat_map(|s| in_slice(s, port)) {
            let Some(other) = found.get_mut(&endpoint.at) else {
                found.insert(endpoint.at, endpoint);
                continue;
            };
            let rank = |e: &Endpoint| (e.terminating, !e.ready, !e.local);
            if rank(other) == rank(&endpoint) {
                unclear |= other.differs(&endpoint);
            } else if rank(&endpoint) < rank(other) {
                *other = endpoint;
            }
        }
        (found.into_values().collect(), unclear)
    }

    fn slices(&self, service: &Id, ipv6: bool) -> impl Iterator<Item = &Value> {
        let kind = if ipv6 { "IPv6" } else { "IPv4" };
        let of = |id: &Id, slice: &Value| {
            let label = "/metadata/labels/kubernetes.io~1service-name";
            id.namespace == service.namespace && text(slice, label) == service.name
        };
        let all = self.all(Kind::Slice);
        all.filter(move |(id, slice)| of(id, slice))
            .map(|(_, slice)| slice)
            .filter(move |slice| text(slice, "/addressType") == kind && !is_foreign(slice))
    }

    fn host_ports(&self, wanted: &mut Wanted) {
        for (pod, wired) in &self.wired {
            let Some((outer, inner)) = wired.host_port else {
                continue;
            };
            for ip in wired.addresses {
                let said = wanted.local.entry(SocketAddr::new(ip, inner)).or_default();
                said.insert(true);
                let served = Served {
                    backends: vec![format!("{}*", SocketAddr::new(ip, inner))],
                    otherwise: "reject",
                };
                let claim = Claim {
                    service: format!("pod/default/{pod}:{outer}"),
                    uid: String::new(),
                    id: None,
                    kind: "HostPort",
                    internal: served.clone(),
                    external: served,
                    affinity: 0,
                    sources: BTreeSet::new(),
                    unclear: false,
                };
                let frontend = on_node(ip.is_ipv6(), outer, "TCP");
                wanted.claims.entry(frontend).or_default().push(claim);
            }
        }
    }
}

impl Endpoint {
    const fn closing(&self) -> bool {
        self.serving && self.terminating
    }

    /// Told otherwise about the same server.
    fn differs(&self, other: &Self) -> bool {
        (self.serving, &self.nodes, &self.zones) != (other.serving, &other.nodes, &other.zones)
    }

    fn name(&self) -> String {
        format!("{}{}", self.at, if self.local { "*" } else { "" })
    }
}

fn ready_or_closing(endpoints: &[Endpoint], allowed: impl Fn(&Endpoint) -> bool) -> Vec<String> {
    let names = |wanted: &dyn Fn(&&Endpoint) -> bool| -> Vec<String> {
        endpoints
            .iter()
            .filter(wanted)
            .map(Endpoint::name)
            .collect()
    };
    let ready = names(&|e| e.ready && allowed(e));
    if ready.is_empty() {
        names(&|e| e.closing())
    } else {
        ready
    }
}

/// Whoever serves and is in a set that is used, but not chosen there.
fn lingering<'a>(
    endpoints: &[Endpoint],
    claims: impl Iterator<Item = &'a Claim>,
) -> BTreeSet<String> {
    let sets: BTreeSet<&Served> = claims.flat_map(|c| [&c.internal, &c.external]).collect();
    let serving = endpoints.iter().filter(|e| e.ready || e.serving);
    let idle = serving.filter(|e| sets.iter().any(|set| !set.backends.contains(&e.name())));
    idle.map(|e| format!("{}/UDP", e.at)).collect()
}

/// What clients use, by what kind.
fn frontends(service: &Value, port: &Value, cluster_ip: IpAddr) -> Vec<(String, &'static str)> {
    let ipv6 = cluster_ip.is_ipv6();
    let (number, protocol) = (number(port, "/port"), protocol(port));
    let at = |ip: IpAddr| format!("{}/{protocol}", SocketAddr::new(ip, number));
    let family = |ip: &IpAddr| ip.is_ipv6() == ipv6;
    let mut all = vec![(at(cluster_ip), "ClusterIP")];
    let node_port = super::model::number(port, "/nodePort");
    if node_port != 0 {
        all.push((on_node(ipv6, node_port, protocol), "NodePort"));
    }
    let vips = balancers(service, ipv6).into_iter();
    all.extend(vips.map(|ip| (at(ip), "LoadBalancer")));
    let external = addresses(list(service, "/spec/externalIPs")).into_iter();
    all.extend(external.filter(family).map(|ip| (at(ip), "ExternalIP")));
    all
}

fn on_node(ipv6: bool, port: u16, protocol: &str) -> String {
    let node = if ipv6 { "[node]" } else { "node" };
    format!("{node}:{port}/{protocol}")
}

fn in_slice(slice: &Value, port: &Value) -> Vec<Endpoint> {
    let same =
        |p: &&Value| text(p, "/name") == text(port, "/name") && protocol(p) == protocol(port);
    let ports = list(slice, "/ports").iter().filter(same);
    let ports = ports.map(|p| number(p, "/port")).filter(|port| *port != 0);
    let ports: Vec<u16> = ports.collect();
    let endpoints = list(slice, "/endpoints").iter();
    endpoints
        .flat_map(|e| ports.iter().filter_map(|port| endpoint(e, *port)))
        .collect()
}

fn endpoint(value: &Value, port: u16) -> Option<Endpoint> {
    let ip: IpAddr = parsed(list(value, "/addresses").first()?.as_str()?)?;
    let condition = |name, otherwise| {
        let said = value.pointer(name).and_then(Value::as_bool);
        said.unwrap_or(otherwise)
    };
    let names = |path| -> Vec<String> {
        let hints = list(value, path).iter();
        hints.map(|hint| text(hint, "/name").to_owned()).collect()
    };
    Some(Endpoint {
        at: SocketAddr::new(ip, port),
        local: text(value, "/nodeName") == HERE,
        ready: condition("/conditions/ready", true),
        serving: condition("/conditions/serving", true),
        terminating: condition("/conditions/terminating", false),
        nodes: names("/hints/forNodes"),
        zones: names("/hints/forZones"),
    })
}

fn is_foreign(object: &Value) -> bool {
    let labels = labels(object);
    FOREIGN.iter().any(|label| labels.contains_key(*label))
}

fn protocol(port: &Value) -> &str {
    match text(port, "/protocol") {
        "" => "TCP",
        protocol => protocol,
    }
}

fn seconds(service: &Value) -> u16 {
    match number(
        service,
        "/spec/sessionAffinityConfig/clientIP/timeoutSeconds",
    ) {
        0 => 10800,
        seconds => seconds,
    }
}

fn addresses(texts: &[Value]) -> Vec<IpAddr> {
    let texts = texts.iter().filter_map(Value::as_str);
    texts.filter_map(parsed).collect()
}
