//! What cannot be programmed whole is refused whole: the last good state stays, and the report says so.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

use std::{sync::Arc, time::Instant};

use proxy_agent::{
    model::{Completeness, Kind, PolicyPort},
    policy::{
        Direction, FetchedPod, PolicyEngine, PolicyError,
        lookup::{Question, judge},
    },
};
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE, anything, ip, labels, object, pods, policy, rule, tcp},
    maps::PolicyMaps,
};

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.namespace("x", "ns=x");
    cluster.pod("x/a", "pod=a", 1, 2);
    cluster.pod("x/b", "pod=b", 1, 3);
    cluster
}

fn reaches(maps: &PolicyMaps, port: u16) -> bool {
    let question = Question {
        endpoint: 2,
        direction: Direction::Ingress,
        peer: ip("10.0.1.3"),
        protocol: 6,
        port,
    };
    judge(&maps.contents(), &question).unwrap().allowed
}

fn ports(from: u16, count: u16) -> Vec<PolicyPort> {
    (0..count).map(|n| tcp(from + 2 * n)).collect()
}

#[test]
fn a_policy_with_too_many_ranges_is_refused_and_its_last_good_version_stays() {
    let mut cluster = cluster();
    let (maps, now) = (PolicyMaps::new(64), Instant::now());
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    let good = policy(
        "x/p",
        "pod=a",
        Some(vec![rule(vec![], vec![tcp(80)])]),
        None,
    );
    cluster.policy(good);
    engine
        .sync_at(now, &cluster.snapshot, &cluster.endpoints)
        .unwrap();
    assert!(reaches(&maps, 80) && !reaches(&maps, 1000));

    let bad = policy(
        "x/p",
        "pod=a",
        Some(vec![rule(vec![], ports(1000, 161))]),
        None,
    );
    cluster.policy(bad);
    let report = engine
        .sync_at(now, &cluster.snapshot, &cluster.endpoints)
        .unwrap();
    assert!(
        report.refused[&object("x/p")].contains("161 separate port ranges"),
        "{report:?}"
    );
    assert!(reaches(&maps, 80) && !reaches(&maps, 1000));
    let again = engine
        .sync_at(now, &cluster.snapshot, &cluster.endpoints)
        .unwrap();
    assert_eq!(
        again.refused, report.refused,
        "as long as it is so, each sync says so"
    );

    let fits = policy(
        "x/p",
        "pod=a",
        Some(vec![rule(vec![], ports(1000, 160))]),
        None,
    );
    cluster.policy(fits);
    let report = engine
        .sync_at(now, &cluster.snapshot, &cluster.endpoints)
        .unwrap();
    assert!(report.refused.is_empty());
    assert!(!reaches(&maps, 80) && reaches(&maps, 1000) && reaches(&maps, 1318));
}

#[test]
fn of_a_union_that_is_too_long_only_the_newcomer_is_refused() {
    let mut cluster = cluster();
    let (maps, now) = (PolicyMaps::new(64), Instant::now());
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    cluster.policy(policy(
        "x/z",
        "pod=a",
        Some(vec![rule(vec![], ports(1000, 100))]),
        None,
    ));
    engine
        .sync_at(now, &cluster.snapshot, &cluster.endpoints)
        .unwrap();
    cluster.policy(policy(
        "x/b",
        "pod=a",
        Some(vec![rule(vec![], ports(3000, 100))]),
        None,
    ));
    let report = engine
        .sync_at(now, &cluster.snapshot, &cluster.endpoints)
        .unwrap();
    assert_eq!(report.refused.keys().collect::<Vec<_>>(), [&object("x/b")]);
    assert!(reaches(&maps, 1000) && !reaches(&maps, 3000));
    cluster.remove_policy("x/z");
    let report = engine
        .sync_at(now, &cluster.snapshot, &cluster.endpoints)
        .unwrap();
    assert!(report.refused.is_empty(), "there is room now");
    assert!(!reaches(&maps, 1000) && reaches(&maps, 3000));
}

#[test]
fn a_pod_without_any_good_policy_is_denied() {
    let mut cluster = cluster();
    let maps = PolicyMaps::new(64);
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    cluster.policy(policy(
        "x/p",
        "pod=a",
        Some(vec![rule(vec![], ports(1000, 161))]),
        None,
    ));
    let report = engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert!(report.denied.contains_key(&2) && !engine.ready(2));
    assert!(!reaches(&maps, 1000) && !reaches(&maps, 80));
    assert!(engine.ready(3), "the other pod is not concerned");
}

#[test]
fn a_table_that_is_too_small_changes_nothing() {
    let mut cluster = cluster();
    // Room for the rows of one policy on one pod, beside rows 0 and 1.
    let maps = PolicyMaps::new(3);
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    cluster.policy(policy(
        "x/p",
        "pod=a",
        Some(vec![rule(vec![], vec![tcp(80)])]),
        None,
    ));
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    let before = maps.contents().words;
    cluster.policy(policy("x/q", "pod=b", Some(vec![]), Some(vec![])));
    for _ in 0..3 {
        let error = engine
            .sync(&cluster.snapshot, &cluster.endpoints)
            .unwrap_err();
        assert!(
            matches!(
                error,
                PolicyError::NoRoom {
                    map: "POLICY_CELLS",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(maps.contents().words, before);
        assert!(reaches(&maps, 80) && !reaches(&maps, 81));
    }
    cluster.remove_policy("x/q");
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert!(reaches(&maps, 80) && !reaches(&maps, 81));
}

#[test]
fn nothing_is_committed_before_the_lists_are_complete() {
    let mut cluster = cluster();
    let maps = PolicyMaps::new(64);
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    cluster.snapshot.complete = Completeness([Kind::Pod, Kind::Node].into());
    let report = engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert_eq!(report.waiting, [Kind::Namespace, Kind::NetworkPolicy]);
    assert!(!engine.ready(2) && !reaches(&maps, 80));
    cluster.snapshot.complete = Completeness(Kind::ALL.into());
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert!(engine.ready(2) && reaches(&maps, 80));
}

#[test]
fn a_pod_that_the_watch_has_not_shown_is_judged_by_what_was_fetched() {
    let mut cluster = cluster();
    let maps = PolicyMaps::new(64);
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    let open = policy("x/p", "pod=a", Some(vec![anything()]), None);
    cluster
        .policy(open)
        .policy(policy("x/deny", "", Some(vec![]), None));
    let pod = cluster.snapshot.pods.remove(&object("x/a")).unwrap();
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert!(!engine.ready(2) && !reaches(&maps, 80));
    cluster.endpoints[0].fetched = Some(FetchedPod {
        labels: labels("pod=a"),
        named_ports: Vec::new(),
        ..FetchedPod::default()
    });
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert!(engine.ready(2) && reaches(&maps, 80));
    cluster
        .snapshot
        .pods
        .insert(object("x/a"), Arc::clone(&pod));
    cluster.change_pod("x/a", |pod| pod.labels = labels("pod=b"));
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert!(
        engine.ready(2) && !reaches(&maps, 80),
        "the watch knows better"
    );
}

#[test]
fn the_epoch_outlives_the_endpoint() {
    let mut cluster = cluster();
    let maps = PolicyMaps::new(64);
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    let first = maps.contents().words[2] >> 41;
    cluster.remove_pod("x/a");
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    cluster.pod("x/c", "pod=c", 1, 2);
    cluster.policy(policy(
        "x/p",
        "",
        Some(vec![rule(vec![pods("")], vec![])]),
        None,
    ));
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    assert!(maps.contents().words[2] >> 41 > first + 1);
}
