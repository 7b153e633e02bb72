//! Where a map has no room and does not grow: policies are refused, the pods that they select are denied, by name, and the rest
//! goes on.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use proxy_agent::{
    model::ObjectName,
    policy::{Direction, lookup::judge},
};
use weir_tests::policy::{
    bed::{Bed, names, newcomers, ports},
    cluster::{OWN_NODE, block, labels, object, policy, rule, tcp},
    maps::PolicyMaps,
    questions,
    random::{apply, edit, start},
};

fn closed(pods: &[(&str, Direction)]) -> Vec<(ObjectName, Direction)> {
    pods.iter()
        .map(|(pod, direction)| (object(pod), *direction))
        .collect()
}

#[test]
fn where_a_map_ends_the_newcomer_is_refused_and_its_pods_are_denied_by_name() {
    for (map, maps, newcomer) in newcomers() {
        let mut bed = Bed::new(maps);
        let first = policy(
            "x/p",
            "pod=a",
            Some(vec![rule(vec![], vec![tcp(80)])]),
            None,
        );
        bed.cluster.policy(first);
        assert!(bed.sync().refused.is_empty());
        let capacity = bed.maps.contents().most_cidrs;

        bed.cluster.policy(newcomer);
        let report = bed.sync();
        assert_eq!(names(&report.refused), ["x/q"], "{map}");
        let refusal = &report.refused[&object("x/q")];
        assert!(refusal.why.contains(map), "{refusal}");
        assert_eq!(refusal.closed, closed(&[("x/b", Direction::Ingress)]));
        assert!(
            refusal
                .to_string()
                .ends_with("denied meanwhile: ingress of x/b"),
            "{refusal}"
        );
        let why = bed.engine.names().closed;
        assert_eq!(why.keys().collect::<Vec<_>>(), [&3]);
        assert!(why[&3][0].as_ref().unwrap().contains("x/q") && why[&3][1].is_none());

        // Its pods are denied in the direction that it isolates; the rest is as if it were not there.
        assert!(!bed.asks(3, Direction::Ingress, 1000));
        assert!(bed.asks(3, Direction::Egress, 1000));
        assert!(bed.answers(2, 80) && !bed.answers(2, 81));
        assert!(bed.engine.ready(3), "it is in force that it is denied");
        assert!(bed.maps.contents().most_cidrs <= capacity.max(16));

        // Others come and go meanwhile.
        bed.cluster
            .change_pod("x/a", |pod| pod.labels = labels("pod=c"));
        let report = bed.sync();
        assert_eq!(names(&report.refused), ["x/q"], "{map}");
        assert!(bed.answers(2, 81), "no policy selects it now");
        bed.cluster.remove_policy("x/q");
        assert!(bed.sync().refused.is_empty());
        assert!(bed.asks(3, Direction::Ingress, 1000));
        assert_eq!(bed.engine.names().closed.len(), 0);
    }
}

#[test]
fn what_is_refused_names_the_map_and_is_in_force_as_soon_as_that_has_grown() {
    for (map, maps, newcomer) in newcomers() {
        let mut bed = Bed::new(maps);
        let rules = Some(vec![rule(vec![], vec![tcp(80)])]);
        bed.cluster.policy(policy("x/p", "pod=a", rules, None));
        assert!(bed.sync().wanting.is_empty());
        bed.cluster.policy(newcomer);
        let wanting = bed.sync().wanting;
        assert_eq!(wanting.keys().collect::<Vec<_>>(), [&map]);
        assert!(wanting[map] > 0);
        // However long it waited before, it waits no more.
        bed.pass(Duration::from_mins(5));
        assert!(!bed.sync().wanting.is_empty());
        bed.maps.resize(64, 256, 64);
        assert!(bed.engine.grow(), "{map}");
        let report = bed.sync();
        assert!(report.refused.is_empty() && report.wanting.is_empty());
        assert!(bed.answers(2, 80) && !bed.answers(2, 81));
        bed.maps.resize(63, 255, 64);
        assert!(!bed.engine.grow(), "smaller arrays are for a new engine");
    }
}

#[test]
fn there_is_room_again_once_something_goes() {
    let small = [
        ("POLICY_CELLS", PolicyMaps::new(3)),
        ("INTERVALS", PolicyMaps::with(64, 8, 64)),
    ];
    for (map, maps) in small {
        let mut bed = Bed::new(maps);
        let large = |name: &str, pods: &str| {
            policy(name, pods, Some(vec![rule(vec![], ports(1000, 100))]), None)
        };
        let other = |name: &str, pods: &str| {
            policy(name, pods, Some(vec![rule(vec![], ports(2000, 100))]), None)
        };
        bed.cluster.policy(large("x/p", "pod=a"));
        bed.sync();
        bed.cluster.policy(other("x/q", "pod=b"));
        assert_eq!(
            names(&bed.pass(Duration::from_mins(5)).refused),
            ["x/q"],
            "{map}"
        );
        bed.cluster.remove_policy("x/p");
        // No longer than what is replaced has to stay, however long it was waited before.
        let report = bed.pass(Duration::from_secs(2));
        assert!(report.refused.is_empty(), "{map}: {:?}", report.refused);
        assert!(bed.asks(3, Direction::Ingress, 2000));
        assert!(!bed.asks(3, Direction::Ingress, 2001));
    }
}

#[test]
fn what_is_refused_is_tried_again_after_growing_times() {
    let mut bed = Bed::new(PolicyMaps::with(64, 8, 64));
    bed.cluster.policy(policy(
        "x/q",
        "pod=b",
        Some(vec![rule(vec![], ports(1000, 200))]),
        None,
    ));
    let mut waits = Vec::new();
    for _ in 0..9 {
        let report = bed.sync();
        assert_eq!(names(&report.refused), ["x/q"]);
        // Until nothing but the refused policy waits.
        bed.now += Duration::from_millis(1100).min(report.again_after.unwrap());
        let wait = bed.sync().again_after.unwrap();
        waits.push(wait.as_secs());
        bed.now += wait;
    }
    assert!(
        waits.is_sorted() && waits[0] < 4 && waits[8] > 100,
        "{waits:?}"
    );
    let writes = bed.sync().writes;
    assert_eq!(writes, 0, "an attempt that fails writes nothing");
}

#[test]
fn of_many_only_as_many_give_way_as_must_and_the_largest_first() {
    let mut bed = Bed::new(PolicyMaps::with(64, 20, 64));
    for n in 0..8_u16 {
        let name = format!("x/pod{n}");
        bed.cluster.pod(&name, &format!("n=n{n}"), 1, 10 + n as u8);
        // Two blocks each, but for two of them.
        let count = if n == 2 || n == 5 { 300 } else { 2 };
        let rules = vec![rule(vec![], ports(1000 + 10_u16 * n, count))];
        bed.cluster.policy(policy(
            &format!("x/p{n}"),
            &format!("n=n{n}"),
            Some(rules),
            None,
        ));
    }
    let report = bed.sync();
    assert_eq!(names(&report.refused), ["x/p2", "x/p5"]);
    for n in [0, 1, 3, 4, 6, 7_u8] {
        let at = 1000 + 10 * u16::from(n);
        let endpoint = 10 + u32::from(n);
        assert!(bed.asks(endpoint, Direction::Ingress, at));
        assert!(!bed.asks(endpoint, Direction::Ingress, at + 1));
    }
}

#[test]
fn rows_that_a_giant_made_wide_are_narrow_again_when_it_goes() {
    let mut bed = Bed::new(PolicyMaps::with(256, 256, 64));
    bed.cluster.policy(policy(
        "x/p",
        "pod=a",
        Some(vec![rule(vec![], vec![tcp(80)])]),
        None,
    ));
    let before = bed.pass(Duration::from_secs(5)).usage;
    let giant = (0..2000_u16).map(|n| {
        let [high, low] = n.to_be_bytes();
        rule(
            vec![block(&format!("100.{high}.{low}.0/24"), &[])],
            vec![tcp(n)],
        )
    });
    bed.cluster.policy(policy(
        "x/giant",
        "pod=b",
        Some(giant.take(200).collect()),
        None,
    ));
    // Classes of this one come after the giant's.
    let late = policy(
        "x/late",
        "pod=b",
        None,
        Some(vec![rule(vec![block("8.0.0.0/8", &[])], vec![])]),
    );
    let with = bed.pass(Duration::from_secs(5));
    assert!(
        with.refused.is_empty() && with.usage.cells > 3 * before.cells,
        "{:?}",
        with.usage
    );
    bed.cluster.policy(late);
    bed.pass(Duration::from_secs(5));
    bed.cluster.remove_policy("x/giant");
    let after = bed.pass(Duration::from_secs(10)).usage;
    assert!(
        after.cells <= before.cells + 64 && after.classes < 10,
        "{after:?}"
    );
    assert!(after.blocks <= before.blocks, "{after:?}");
    assert!(bed.answers(2, 80) && !bed.answers(2, 81));
}

#[test]
fn a_giant_that_does_not_fit_takes_nothing_from_the_rest() {
    let mut bed = Bed::new(PolicyMaps::with(12, 256, 64));
    bed.cluster.policy(policy(
        "x/p",
        "pod=a",
        Some(vec![rule(vec![], vec![tcp(80)])]),
        None,
    ));
    let before = bed.pass(Duration::from_secs(5)).usage;
    let giant =
        (0..250_u16).map(|n| rule(vec![block(&format!("100.{n}.0.0/16"), &[])], vec![tcp(n)]));
    bed.cluster.policy(policy(
        "x/giant",
        "pod=b",
        Some(giant.collect()),
        Some(vec![]),
    ));
    let report = bed.pass(Duration::from_mins(1));
    assert_eq!(names(&report.refused), ["x/giant"]);
    assert_eq!(
        (report.usage.cells, report.usage.blocks),
        (before.cells, before.blocks)
    );
    assert!(bed.answers(2, 80) && !bed.answers(2, 81));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in maps that are too small: who is named is denied, and nobody else notices.
    #[test]
    fn in_small_maps_who_is_not_named_is_judged_as_ever(
        edits in prop::collection::vec(edit(), 4..40),
        strides in 3..9_usize,
        blocks in 2..7_u32,
        cidrs in 5..12_u32,
    ) {
        let maps = PolicyMaps::with(strides, blocks, 64);
        maps.limit_cidrs(cidrs);
        let mut bed = Bed::new(maps);
        bed.cluster = start();
        for edit in edits {
            apply(&mut bed.cluster, &edit);
            let report = bed.pass(Duration::from_secs(2));
            let closed: BTreeSet<_> = report.refused.values().flat_map(|r| &r.closed).cloned().collect();
            let contents = bed.maps.contents();
            prop_assert!(contents.most_cidrs <= cidrs as usize);
            for question in questions::all(&bed.cluster) {
                let endpoint = bed.cluster.endpoints.iter().find(|e| e.id == question.endpoint).unwrap();
                let is_closed = closed.contains(&(endpoint.pod.clone(), question.direction));
                let from_node = question.direction == Direction::Ingress
                    && bed.cluster.snapshot.nodes[OWN_NODE].addresses.contains(&question.peer);
                let expected = questions::expected(&bed.cluster, &question) && (!is_closed || from_node);
                let answer = judge(&contents, &question).unwrap();
                prop_assert_eq!(answer.allowed, expected, "{:?} {:?} {:?}", question, answer, report);
            }
        }
        bed.cluster.snapshot.policies.clear();
        let report = bed.pass(Duration::from_secs(5));
        prop_assert!(report.refused.is_empty());
        prop_assert_eq!((report.usage.cells, report.usage.blocks), (2 * 64, 1));
    }
}
