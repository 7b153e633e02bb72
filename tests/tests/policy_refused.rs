//! Where a map has no room: policies are refused, the pods that they select are denied, by name, and the rest goes on. And
//! what holds before policies are known.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use proxy_agent::{
    model::{Completeness, Kind, NetworkPolicy, ObjectName, PolicyPort},
    policy::{
        Direction, FetchedPod, PolicyEngine, PolicyReport,
        lookup::{Question, judge},
    },
};
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE, anything, block, ip, labels, object, pods, policy, rule, tcp},
    maps::PolicyMaps,
    questions,
    random::{apply, edit, start},
};

fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.namespace("x", "ns=x");
    cluster.pod("x/a", "pod=a", 1, 2);
    cluster.pod("x/b", "pod=b", 1, 3);
    cluster
}

fn reaches(maps: &PolicyMaps, port: u16) -> bool {
    asks(maps, 2, Direction::Ingress, port)
}

/// Whether a pod and an address from outside may begin a TCP flow.
fn asks(maps: &PolicyMaps, endpoint: u32, direction: Direction, port: u16) -> bool {
    let question = Question {
        endpoint,
        direction,
        peer: ip("10.0.1.3"),
        protocol: 6,
        port,
    };
    judge(&maps.contents(), &question).unwrap().allowed
}

fn ports(from: u16, count: u16) -> Vec<PolicyPort> {
    (0..count).map(|n| tcp(from + 2 * n)).collect()
}

fn closed(pods: &[(&str, Direction)]) -> Vec<(ObjectName, Direction)> {
    pods.iter()
        .map(|(pod, direction)| (object(pod), *direction))
        .collect()
}

fn names(report: &PolicyReport) -> Vec<String> {
    report.refused.keys().map(ToString::to_string).collect()
}

/// An engine over maps, and the time.
struct Bed {
    cluster: Cluster,
    maps: PolicyMaps,
    engine: PolicyEngine,
    now: Instant,
}

impl Bed {
    fn new(maps: PolicyMaps) -> Self {
        Self {
            cluster: cluster(),
            engine: PolicyEngine::new(maps.tables(), OWN_NODE),
            maps,
            now: Instant::now(),
        }
    }

    fn sync(&mut self) -> PolicyReport {
        let Self {
            cluster,
            engine,
            now,
            ..
        } = self;
        engine
            .sync_at(*now, &cluster.snapshot, &cluster.endpoints)
            .unwrap()
    }

    /// Syncs as often as time asks for it within so many seconds.
    fn pass(&mut self, seconds: u64) -> PolicyReport {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let report = self.sync();
            let again = report
                .again_after
                .map(|again| self.now + again.max(Duration::from_millis(10)));
            let Some(again) = again.filter(|again| *again <= end) else {
                self.now = end;
                return self.sync();
            };
            self.now = again;
        }
    }
}

/// What maps of these sizes have no room for: what fits, and what does not beside it.
fn newcomers() -> [(&'static str, PolicyMaps, NetworkPolicy); 3] {
    let cells = PolicyMaps::new(3);
    let blocks = PolicyMaps::with(64, 8, 64);
    let cidrs = PolicyMaps::new(64);
    cidrs.limit_cidrs(16);
    let blocks_of = |n: u8| {
        (0..n)
            .map(|n| block(&format!("100.{n}.0.0/16"), &[]))
            .collect()
    };
    [
        (
            "POLICY_CELLS",
            cells,
            policy("x/q", "pod=b", Some(vec![]), None),
        ),
        (
            "INTERVALS",
            blocks,
            policy(
                "x/q",
                "pod=b",
                Some(vec![rule(vec![], ports(1000, 200))]),
                None,
            ),
        ),
        (
            "CIDRS4",
            cidrs,
            policy(
                "x/q",
                "pod=b",
                Some(vec![rule(blocks_of(20), vec![])]),
                None,
            ),
        ),
    ]
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
        assert_eq!(names(&report), ["x/q"], "{map}");
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
        assert!(!asks(&bed.maps, 3, Direction::Ingress, 1000));
        assert!(asks(&bed.maps, 3, Direction::Egress, 1000));
        assert!(reaches(&bed.maps, 80) && !reaches(&bed.maps, 81));
        assert!(bed.engine.ready(3), "it is in force that it is denied");
        assert!(bed.maps.contents().most_cidrs <= capacity.max(16));

        // Others come and go meanwhile.
        bed.cluster
            .change_pod("x/a", |pod| pod.labels = labels("pod=c"));
        let report = bed.sync();
        assert_eq!(names(&report), ["x/q"], "{map}");
        assert!(reaches(&bed.maps, 81), "no policy selects it now");
        bed.cluster.remove_policy("x/q");
        assert!(bed.sync().refused.is_empty());
        assert!(asks(&bed.maps, 3, Direction::Ingress, 1000));
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
        bed.pass(300);
        assert!(!bed.sync().wanting.is_empty());
        bed.maps.resize(64, 256, 64);
        assert!(bed.engine.grow(), "{map}");
        let report = bed.sync();
        assert!(report.refused.is_empty() && report.wanting.is_empty());
        assert!(reaches(&bed.maps, 80) && !reaches(&bed.maps, 81));
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
        assert_eq!(names(&bed.pass(300)), ["x/q"], "{map}");
        bed.cluster.remove_policy("x/p");
        // No longer than what is replaced has to stay, however long it was waited before.
        let report = bed.pass(2);
        assert!(report.refused.is_empty(), "{map}: {:?}", report.refused);
        assert!(asks(&bed.maps, 3, Direction::Ingress, 2000));
        assert!(!asks(&bed.maps, 3, Direction::Ingress, 2001));
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
        assert_eq!(names(&report), ["x/q"]);
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
    assert_eq!(names(&report), ["x/p2", "x/p5"]);
    for n in [0, 1, 3, 4, 6, 7_u8] {
        let at = 1000 + 10 * u16::from(n);
        let endpoint = 10 + u32::from(n);
        assert!(asks(&bed.maps, endpoint, Direction::Ingress, at));
        assert!(!asks(&bed.maps, endpoint, Direction::Ingress, at + 1));
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
    let before = bed.pass(5).usage;
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
    let with = bed.pass(5);
    assert!(
        with.refused.is_empty() && with.usage.cells > 3 * before.cells,
        "{:?}",
        with.usage
    );
    bed.cluster.policy(late);
    bed.pass(5);
    bed.cluster.remove_policy("x/giant");
    let after = bed.pass(10).usage;
    assert!(
        after.cells <= before.cells + 64 && after.classes < 10,
        "{after:?}"
    );
    assert!(after.blocks <= before.blocks, "{after:?}");
    assert!(reaches(&bed.maps, 80) && !reaches(&bed.maps, 81));
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
    let before = bed.pass(5).usage;
    let giant =
        (0..250_u16).map(|n| rule(vec![block(&format!("100.{n}.0.0/16"), &[])], vec![tcp(n)]));
    bed.cluster.policy(policy(
        "x/giant",
        "pod=b",
        Some(giant.collect()),
        Some(vec![]),
    ));
    let report = bed.pass(60);
    assert_eq!(names(&report), ["x/giant"]);
    assert_eq!(
        (report.usage.cells, report.usage.blocks),
        (before.cells, before.blocks)
    );
    assert!(reaches(&bed.maps, 80) && !reaches(&bed.maps, 81));
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
            let report = bed.pass(2);
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
        let report = bed.pass(5);
        prop_assert!(report.refused.is_empty());
        prop_assert_eq!((report.usage.cells, report.usage.blocks), (2 * 64, 1));
    }
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
