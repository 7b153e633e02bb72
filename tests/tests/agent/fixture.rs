//! A node with an agent that a folder of manifests feeds.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use proxy_agent::datapath::Table as _;
use weir_tests::{
    datapath::reader,
    world::{Agent, Manifests, Node, Place, Pod, Server, ask_tcp, http_get, until},
};

pub(super) use weir_tests::watched::ready;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const VIP4: &str = "10.96.0.10";
pub(super) const VIP6: &str = "fd00:10:96::10";

/// An agent with a folder of manifests of its own.
pub(super) struct Fixture {
    pub(super) agent: Agent,
    manifests: Manifests,
}

impl Fixture {
    pub(super) fn apply(&self, name: &str, yaml: &str) -> Result<()> {
        self.manifests.apply(name, yaml).map(drop)
    }

    /// Service `web` with both VIPs and these backends.
    pub(super) fn apply_web(&self, backends: &[IpAddr]) -> Result<()> {
        self.apply("web.yaml", &service("web", [VIP4, VIP6], "TCP", backends))
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.manifests.remove(name)
    }

    pub(super) fn proxyctl(&self, words: &[&str]) -> Result<String> {
        self.agent.proxyctl(words)
    }
}

pub(super) fn start(node: &Node) -> Fixture {
    let manifests = Manifests::new().unwrap();
    let agent = Agent::start(node, &manifests, &["--map-size", "small"]).unwrap();
    Fixture { agent, manifests }
}

/// A pod with TCP servers of both families, which answer with its name.
pub(super) fn web(node: &Node) -> (Pod, Vec<Server>) {
    let pod = node.plain_pod("web").unwrap();
    let servers = pod.at(8080).map(|at| Server::tcp(&pod, at, "web").unwrap());
    (pod, servers.into())
}

/// A Service of both families with one slice each.
pub(super) fn service(name: &str, vips: [&str; 2], protocol: &str, backends: &[IpAddr]) -> String {
    let slice = |family: &str, ipv6: bool| {
        let backends = backends.iter().filter(|address| address.is_ipv6() == ipv6);
        let endpoints: Vec<_> = backends
            .map(|address| format!("{{addresses: [\"{address}\"]}}"))
            .collect();
        let endpoints = endpoints.join(", ");
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: {name}-{family}, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}\n\
             addressType: {family}\nports: [{{name: main, port: 8080, protocol: {protocol}}}]\nendpoints: [{endpoints}]\n"
        )
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  clusterIP: {0}\n  clusterIPs: [\"{0}\", \"{1}\"]\n  ipFamilies: [IPv4, IPv6]\n\
         \x20 ports: [{{name: main, port: 80, targetPort: 8080, protocol: {protocol}}}]\n{2}{3}",
        vips[0],
        vips[1],
        slice("IPv4", false),
        slice("IPv6", true)
    )
}

pub(super) fn at(vip: &str) -> SocketAddr {
    SocketAddr::new(vip.parse().unwrap(), 80)
}

/// Connects until the server of this name answers.
pub(super) fn reach(place: &Place, vip: &str, name: &str) -> Result<()> {
    until(&format!("{name} to answer at {vip}"), PATIENCE, || {
        Ok((ask_tcp(place, at(vip))?.name == name).then_some(()))
    })
}

/// Everything in the maps of Services, as text.
pub(super) fn service_maps(node: &Node) -> BTreeMap<&'static str, Vec<String>> {
    let reader = reader(node).unwrap();
    let maps = reader.maps();
    let mut all = BTreeMap::new();
    macro_rules! read {
        ($($field:ident)+) => {$(
            let entries = maps.$field.entries().unwrap();
            let mut lines: Vec<_> = entries.iter().map(|entry| format!("{entry:?}")).collect();
            lines.sort();
            all.insert(stringify!($field), lines);
        )+};
    }
    read!(frontends4 frontends6 backends4 backends6 backend_slots backend_members);
    all
}

/// `GET path` of the node itself: status and the whole answer.
pub(super) fn get(place: &Place, port: u16, path: &str) -> Result<(u16, String)> {
    Ok(http_get(place, ([127, 0, 0, 1], port).into(), path)?)
}
