//! What holds before policies and pods are known, and what outlives a pod.

use std::sync::Arc;

use proxy_agent::model::{Completeness, Kind, Pod};
use weir_tests::policy::{
    bed::Bed,
    cluster::{anything, labels, object, pods, policy, rule},
    maps::PolicyMaps,
};

#[test]
fn nothing_is_committed_before_the_lists_are_complete() {
    let mut bed = Bed::new(PolicyMaps::new(64));
    bed.cluster.snapshot.complete = Completeness([Kind::Pod, Kind::Node].into());
    let report = bed.sync();
    assert_eq!(report.waiting, [Kind::Namespace, Kind::NetworkPolicy]);
    assert!(!bed.engine.ready(2) && !bed.answers(2, 80));
    bed.cluster.snapshot.complete = Completeness(Kind::ALL.into());
    bed.sync();
    assert!(bed.engine.ready(2) && bed.answers(2, 80));
}

#[test]
fn a_pod_that_the_watch_has_not_shown_is_judged_by_what_was_fetched() {
    let mut bed = Bed::new(PolicyMaps::new(64));
    let open = policy("x/p", "pod=a", Some(vec![anything()]), None);
    bed.cluster
        .policy(open)
        .policy(policy("x/deny", "", Some(vec![]), None));
    let pod = bed.cluster.snapshot.pods.remove(&object("x/a")).unwrap();
    bed.sync();
    assert!(!bed.engine.ready(2) && !bed.answers(2, 80));
    bed.cluster.endpoints[0].fetched = Some(Arc::new(Pod {
        labels: labels("pod=a"),
        ..Pod::default()
    }));
    bed.sync();
    assert!(bed.engine.ready(2) && bed.answers(2, 80));
    bed.cluster
        .snapshot
        .pods
        .insert(object("x/a"), Arc::clone(&pod));
    bed.cluster
        .change_pod("x/a", |pod| pod.labels = labels("pod=b"));
    bed.sync();
    assert!(
        bed.engine.ready(2) && !bed.answers(2, 80),
        "the watch knows better"
    );
}

#[test]
fn the_epoch_outlives_the_endpoint() {
    let mut bed = Bed::new(PolicyMaps::new(64));
    bed.sync();
    let first = bed.maps.contents().words[2] >> 41;
    bed.cluster.remove_pod("x/a");
    bed.sync();
    bed.cluster.pod("x/c", "pod=c", 1, 2);
    bed.cluster.policy(policy(
        "x/p",
        "",
        Some(vec![rule(vec![pods("")], vec![])]),
        None,
    ));
    bed.sync();
    assert!(bed.maps.contents().words[2] >> 41 > first + 1);
}
