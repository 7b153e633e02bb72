//! Nine pods, what policy says about every flow between them, and what a case expects.

use proxy_agent::{
    model::{NetworkPolicy, Protocol},
    policy::{
        Direction, PolicyEngine,
        lookup::{Question, judge},
    },
};
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE},
    maps::{Contents, PolicyMaps},
};

/// A flow between two of the nine pods: `x/a` to `y/b`, protocol, port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow<'a> {
    from: &'a str,
    to: &'a str,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
}

impl Flow<'_> {
    pub(super) fn is(&self, from: &str, to: &str) -> bool {
        matches_pod(from, self.from) && matches_pod(to, self.to)
    }

    pub(super) fn tcp(&self, port: u16) -> bool {
        self.protocol == Protocol::Tcp && self.port == port
    }
}

/// `x/a`, `x/*`, `*/b` or `*`.
fn matches_pod(pattern: &str, pod: &str) -> bool {
    let (namespace, name) = pod.split_once('/').unwrap();
    match pattern.split_once('/') {
        None => pattern == "*",
        Some((n, p)) => (n == "*" || n == namespace) && (p == "*" || p == name),
    }
}

const NAMES: [&str; 9] = [
    "x/a", "x/b", "x/c", "y/a", "y/b", "y/c", "z/a", "z/b", "z/c",
];

/// Every flow between two of them.
fn flows() -> impl Iterator<Item = Flow<'static>> {
    let pairs = NAMES
        .into_iter()
        .flat_map(|from| NAMES.map(|to| (from, to)));
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    pairs
        .filter(|(from, to)| from != to)
        .flat_map(move |(from, to)| {
            let ports = protocols.into_iter().flat_map(|p| [(p, 80), (p, 81)]);
            ports.map(move |(protocol, port)| Flow {
                from,
                to,
                protocol,
                port,
            })
        })
}

fn start() -> Cluster {
    let mut cluster = Cluster::new();
    for (n, namespace) in ["x", "y", "z"].into_iter().enumerate() {
        cluster.namespace(namespace, &format!("ns={namespace}"));
        for (p, pod) in ["a", "b", "c"].into_iter().enumerate() {
            let host = (10 + n * 3 + p) as u8;
            cluster.pod(
                &format!("{namespace}/{pod}"),
                &format!("pod={pod}"),
                1,
                host,
            );
        }
    }
    cluster
}

/// A case of the inventory.
pub(super) struct Case {
    pub(super) cluster: Cluster,
    maps: PolicyMaps,
    engine: PolicyEngine,
    pub(super) number: u32,
}

impl Case {
    pub(super) fn new(number: u32, policies: Vec<NetworkPolicy>) -> Self {
        let maps = PolicyMaps::new(64);
        let mut cluster = start();
        for policy in policies {
            cluster.policy(policy);
        }
        Self {
            engine: PolicyEngine::new(maps.tables(), OWN_NODE),
            cluster,
            maps,
            number,
        }
    }

    /// Syncs, and asks about every pair, protocol, port and family.
    pub(super) fn expect(&mut self, open: impl Fn(&Flow<'_>) -> bool) -> &mut Self {
        self.engine
            .sync(&self.cluster.snapshot, &self.cluster.endpoints)
            .unwrap();
        let contents = self.maps.contents();
        for flow in flows() {
            for family in [0, 1] {
                assert_eq!(
                    self.passes(&contents, &flow, family),
                    open(&flow),
                    "case {}: {flow:?} family {family}",
                    self.number
                );
            }
        }
        self
    }

    /// Whether both ends let the flow pass.
    fn passes(&self, contents: &Contents, flow: &Flow<'_>, family: usize) -> bool {
        let ask = |own: &str, other: &str, direction| {
            let question = Question {
                endpoint: self.endpoint(own),
                direction,
                peer: self.cluster.get(other).ips.iter().nth(family).unwrap(),
                protocol: flow.protocol.number(),
                port: flow.port,
            };
            judge(contents, &question).unwrap().allowed
        };
        ask(flow.from, flow.to, Direction::Egress) && ask(flow.to, flow.from, Direction::Ingress)
    }

    fn endpoint(&self, pod: &str) -> u32 {
        let name = &self.cluster.get(pod).name;
        self.cluster
            .endpoints
            .iter()
            .find(|e| e.pod == *name)
            .unwrap()
            .id
    }
}
