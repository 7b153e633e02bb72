//! An engine over maps in memory, and the time.

use std::time::{Duration, Instant};

use proxy_agent::{
    model::{NetworkPolicy, ObjectName, PolicyPort},
    policy::{
        Direction, PolicyEngine, PolicyReport, Refusal,
        lookup::{Question, judge},
    },
    subject::growth::InVain,
};

use super::{
    cluster::{Cluster, OWN_NODE, block, ip, policy, rule, tcp},
    maps::PolicyMaps,
};

/// A cluster, its maps, their engine, and the time.
pub struct Bed {
    /// The cluster.
    pub cluster: Cluster,
    /// The maps.
    pub maps: PolicyMaps,
    /// What keeps them.
    pub engine: PolicyEngine,
    /// Now.
    pub now: Instant,
}

impl Bed {
    /// Two pods of this node, `x/a` with id 2 and `x/b` with id 3, over maps that do not grow.
    pub fn new(maps: PolicyMaps) -> Self {
        let mut cluster = Cluster::new();
        cluster.namespace("x", "ns=x");
        cluster.pod("x/a", "pod=a", 1, 2);
        cluster.pod("x/b", "pod=b", 1, 3);
        Self {
            cluster,
            engine: PolicyEngine::new(maps.tables(), OWN_NODE),
            maps,
            now: Instant::now(),
        }
    }

    /// The same, over maps that may grow.
    pub fn growing(maps: PolicyMaps) -> Self {
        let mut bed = Self::new(maps);
        bed.engine.set_in_vain(InVain::new());
        bed
    }

    /// Another agent, which knows nothing but the maps.
    pub fn restart(&mut self) {
        self.engine = PolicyEngine::new(self.maps.tables(), OWN_NODE);
        self.engine.set_in_vain(InVain::new());
    }

    /// Brings the maps in step.
    pub fn sync(&mut self) -> PolicyReport {
        let (snapshot, endpoints) = (&self.cluster.snapshot, &self.cluster.endpoints);
        self.engine.sync_at(self.now, snapshot, endpoints).unwrap()
    }

    /// Syncs as often as time asks for it within so long.
    pub fn pass(&mut self, time: Duration) -> PolicyReport {
        let end = self.now + time;
        loop {
            let report = self.sync();
            let again = report.again_after;
            let again = again.map(|again| self.now + again.max(Duration::from_millis(10)));
            let Some(again) = again.filter(|again| *again <= end) else {
                self.now = end;
                return self.sync();
            };
            self.now = again;
        }
    }

    /// Whether a pod and `x/b`'s address may begin a TCP flow.
    pub fn asks(&self, endpoint: u32, direction: Direction, port: u16) -> bool {
        let question = Question {
            endpoint,
            direction,
            peer: ip("10.0.1.3"),
            protocol: 6,
            port,
        };
        judge(&self.maps.contents(), &question).unwrap().allowed
    }

    /// Whether `x/b`'s address may begin a TCP flow to a pod.
    pub fn answers(&self, endpoint: u32, port: u16) -> bool {
        self.asks(endpoint, Direction::Ingress, port)
    }
}

/// So many single ports, no two of them neighbours.
pub fn ports(from: u16, count: u16) -> Vec<PolicyPort> {
    (0..count).map(|n| tcp(from + 2 * n)).collect()
}

/// The policies of a report, in words.
pub fn names(of: &std::collections::BTreeMap<ObjectName, Refusal>) -> Vec<String> {
    of.keys().map(ToString::to_string).collect()
}

/// Policies of `x/b` for which maps of these sizes have no room beside one of one port, by the map that is too small.
pub fn newcomers() -> [(&'static str, PolicyMaps, NetworkPolicy); 3] {
    let of_b = |rules| policy("x/q", "pod=b", Some(rules), None);
    let cidrs = PolicyMaps::new(64);
    cidrs.limit_cidrs(16);
    let blocks = (0..20_u8).map(|n| block(&format!("100.{n}.0.0/16"), &[]));
    [
        ("POLICY_CELLS", PolicyMaps::new(3), of_b(vec![])),
        (
            "INTERVALS",
            PolicyMaps::with(64, 8, 64),
            of_b(vec![rule(vec![], ports(1000, 200))]),
        ),
        ("CIDRS4", cidrs, of_b(vec![rule(blocks.collect(), vec![])])),
    ]
}
