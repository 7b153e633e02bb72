//! The names of rules: known while a row or a flow may name them, then forgotten.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use proxy_agent::policy::PolicyEngine;
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE, policy, rule, tcp},
    maps::PolicyMaps,
};

/// A cluster in which one policy after the other comes and goes.
struct Days {
    cluster: Cluster,
    engine: PolicyEngine,
    now: Instant,
}

impl Days {
    fn new(maps: &PolicyMaps) -> Self {
        let mut cluster = Cluster::new();
        cluster.namespace("x", "ns=x");
        cluster.pod("x/a", "pod=a", 1, 2);
        let mut days = Self {
            cluster,
            engine: PolicyEngine::new(maps.tables(), OWN_NODE),
            now: Instant::now(),
        };
        days.put("x/stays");
        days
    }

    fn put(&mut self, name: &str) {
        let open = vec![rule(vec![], vec![tcp(80)])];
        self.cluster.policy(policy(name, "pod=a", Some(open), None));
        self.sync();
    }

    /// A policy of one day; the cookie of its rule.
    fn pass(&mut self, name: &str) -> u32 {
        self.put(name);
        let cookie = self.cookie(name).unwrap();
        self.cluster.remove_policy(name);
        self.sync();
        cookie
    }

    fn sync(&mut self) {
        // What has retired is freed after a while.
        self.now += Duration::from_secs(10);
        self.engine
            .sync_at(self.now, &self.cluster.snapshot, &self.cluster.endpoints)
            .unwrap();
    }

    fn cookie(&self, policy: &str) -> Option<u32> {
        let start = format!("{policy} ");
        let mut all = self.engine.cookies().iter();
        all.find(|(_, name)| name.to_string().starts_with(&start))
            .map(|(cookie, _)| cookie)
    }
}

#[test]
fn names_of_rules_that_are_gone_are_forgotten_unless_a_flow_names_them() {
    let maps = PolicyMaps::new(64);
    let mut days = Days::new(&maps);
    let named = days.pass("x/named");
    for day in 0..100 {
        days.pass(&format!("x/day-{day}"));
    }
    assert!(days.engine.has_old_cookies());
    days.sync();
    days.engine.forget_cookies(&BTreeSet::from([named]));
    assert!(!days.engine.has_old_cookies());
    assert_eq!(days.cookie("x/named"), Some(named));
    assert!(days.cookie("x/stays").is_some());
    assert_eq!(days.engine.cookies().iter().count(), 2);

    // What stays is still named when a peer comes that its row has not met.
    days.cluster.pod("x/b", "pod=b", 1, 3);
    days.sync();
    assert!(days.cookie("x/stays").is_some());
    days.engine.forget_cookies(&BTreeSet::new());
    assert_eq!(days.engine.cookies().iter().count(), 1);
}
