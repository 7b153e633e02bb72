//! Where a map has no room and may still grow: policies wait, pods that were there keep their last good state, new ones are
//! denied; and nobody waits for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;
use proxy_agent::{
    model::{ContainerPort, NetworkPolicy, ObjectName, PolicyPort, Protocol},
    policy::{
        Direction, PolicyReport,
        lookup::{Question, judge},
    },
    subject::growth::{InVain, PATIENCE},
};
use weir_tests::policy::{
    bed::{Bed, names, newcomers, ports},
    cluster::{Cluster, OWN_NODE, block, object, policy, rule, tcp},
    maps::PolicyMaps,
    questions,
    random::{Edit, apply, edit, start},
};

/// The maps grow.
fn grow(bed: &mut Bed) -> PolicyReport {
    bed.maps.resize(64, 256, 256);
    assert!(bed.engine.grow());
    bed.sync()
}

fn many_ports() -> NetworkPolicy {
    let rules = vec![rule(vec![], ports(1000, 200))];
    policy("x/q", "pod=b", Some(rules), None)
}

/// A bed in which a policy judges `x/a`, and another has come that has no room for `x/b`.
fn waiting(maps: PolicyMaps, newcomer: NetworkPolicy) -> (Bed, PolicyReport) {
    let mut bed = Bed::growing(maps);
    let rules = Some(vec![rule(vec![], vec![tcp(80)])]);
    bed.cluster.policy(policy("x/p", "pod=a", rules, None));
    assert!(bed.sync().waits.is_empty());
    bed.cluster.policy(newcomer);
    let report = bed.sync();
    (bed, report)
}

#[test]
fn a_newcomer_waits_until_there_is_room_and_denies_only_pods_that_are_new() {
    for (map, maps, newcomer) in newcomers() {
        let (mut bed, report) = waiting(maps, newcomer);
        assert!(report.refused.is_empty(), "{map}: {:?}", report.refused);
        assert_eq!(names(&report.waits), ["x/q"], "{map}");
        assert!(report.waits[&object("x/q")].why.contains(map));
        assert_eq!(report.wanting.keys().collect::<Vec<_>>(), [&map]);
        assert!(bed.answers(3, 999), "as if it had not come");
        assert!(bed.answers(2, 80) && !bed.answers(2, 81));

        // A pod that it selects, and one that it does not.
        bed.cluster.pod("x/late", "pod=b", 1, 4);
        bed.cluster.pod("x/free", "pod=c", 1, 5);
        let report = bed.sync();
        let said = report.waits[&object("x/q")].to_string();
        assert!(
            said.ends_with("denied meanwhile: ingress of x/late"),
            "{said}"
        );
        assert!(bed.engine.ready(4) && bed.engine.ready(5));
        assert!(!bed.answers(4, 1000) && bed.answers(5, 1000));
        let why = &bed.engine.names().closed[&4];
        assert!(why[0].as_ref().unwrap().contains("waits for room"));
        // It stays new, however often it is looked at.
        bed.sync();
        assert!(!bed.answers(4, 999) && bed.answers(3, 999));

        let report = grow(&mut bed);
        assert!(
            report.waits.is_empty() && report.wanting.is_empty(),
            "{map}"
        );
        for id in [3, 4] {
            assert!(!bed.answers(id, 999), "{map}");
        }
        assert!(bed.answers(2, 80) && !bed.answers(2, 81));
    }
}

/// Lists, rows and ranges of several sizes in one policy: what is wanted of each map is told by the first attempt.
#[test]
fn what_is_wanted_of_all_maps_is_told_at_once_and_suffices() {
    let maps = PolicyMaps::with(3, 8, 64);
    maps.limit_cidrs(16);
    let mut bed = Bed::growing(maps);
    bed.cluster.pod("x/c", "pod=c", 1, 4);
    bed.sync();
    let rules = |from: u16| {
        let rule = |n: u8| {
            let blocks = (0..9).map(|m| block(&format!("100.{n}.{m}.0/24"), &[]));
            rule(
                blocks.collect(),
                ports(from + 300 * u16::from(n), 60 + u16::from(n)),
            )
        };
        Some((0..9).map(rule).collect())
    };
    bed.cluster
        .policy(policy("x/q", "", rules(1000), rules(1001)));
    let wanting = bed.sync().wanting;
    let maps: Vec<_> = wanting.keys().copied().collect();
    assert_eq!(maps, ["CIDRS4", "INTERVALS", "POLICY_CELLS"]);
    let strides = 3 + wanting["POLICY_CELLS"].div_ceil(64);
    let (blocks, cidrs) = (8 + wanting["INTERVALS"], 16 + wanting["CIDRS4"]);
    bed.maps.resize(strides as usize, blocks, cidrs);
    assert!(bed.engine.grow());
    let report = bed.sync();
    assert!(
        report.waits.is_empty() && report.wanting.is_empty(),
        "{report:?}"
    );
}

#[test]
fn nobody_waits_longer_than_patience_lasts_and_who_was_refused_waits_no_more() {
    for (map, maps, newcomer) in newcomers() {
        let (mut bed, _) = waiting(maps, newcomer.clone());
        let rest = Duration::from_millis(1);
        bed.now += PATIENCE.saturating_sub(rest);
        assert!(bed.sync().refused.is_empty());
        // Another version of it does not begin anew.
        let mut other = newcomer;
        other.egress = Some(Box::default());
        bed.cluster.policy(other);
        assert_eq!(names(&bed.sync().waits), ["x/q"]);
        bed.now += rest;
        let report = bed.sync();
        assert_eq!(names(&report.refused), ["x/q"], "{map}");
        assert!(report.waits.is_empty() && !bed.answers(3, 999));
        // Whatever becomes of it, it does not open again before it is in force.
        bed.engine.set_in_vain(InVain::from(["ELSE".to_owned()]));
        for _ in 0..5 {
            bed.now += Duration::from_mins(3);
            let report = bed.sync();
            assert_eq!(names(&report.refused), ["x/q"], "{map}");
            assert!(!bed.answers(3, 999));
        }
        assert!(grow(&mut bed).refused.is_empty());
        assert!(!bed.answers(3, 999));
    }
}

#[test]
fn where_a_map_does_not_grow_a_policy_is_refused_at_once_or_as_soon_as_that_is_known() {
    for (map, maps, newcomer) in newcomers() {
        let (mut bed, _) = waiting(maps, newcomer);
        bed.engine.set_in_vain(InVain::from([map.to_owned()]));
        let report = bed.sync();
        assert_eq!(names(&report.refused), ["x/q"], "{map}");
        assert!(!bed.answers(3, 999) && bed.answers(2, 80));
        bed.cluster.remove_policy("x/q");
        assert!(bed.sync().refused.is_empty());
    }
    for (map, maps, newcomer) in newcomers() {
        let mut bed = Bed::growing(maps);
        bed.engine.set_in_vain(InVain::from([map.to_owned()]));
        let rules = Some(vec![rule(vec![], vec![tcp(80)])]);
        bed.cluster.policy(policy("x/p", "pod=a", rules, None));
        bed.sync();
        bed.cluster.policy(newcomer);
        assert_eq!(names(&bed.sync().refused), ["x/q"], "{map}");
    }
}

#[test]
fn a_policy_that_was_in_force_is_as_it_was_until_its_new_version_fits() {
    let few = |port| {
        let rules = vec![rule(vec![], vec![tcp(port)])];
        policy("x/q", "pod=b", Some(rules), None)
    };
    let mut bed = Bed::growing(PolicyMaps::with(64, 8, 64));
    bed.cluster.policy(few(80));
    bed.sync();
    bed.cluster.policy(many_ports());
    assert_eq!(names(&bed.sync().waits), ["x/q"]);
    assert!(bed.answers(3, 80) && !bed.answers(3, 1000) && !bed.answers(3, 81));
    // Others come meanwhile, for the same pod too.
    bed.cluster.policy(policy(
        "x/r",
        "pod=b",
        Some(vec![rule(vec![], vec![tcp(90)])]),
        None,
    ));
    assert_eq!(names(&bed.sync().waits), ["x/q"]);
    assert!(bed.answers(3, 80) && bed.answers(3, 90) && !bed.answers(3, 1000));
    // It goes: what it was goes too.
    bed.cluster.remove_policy("x/q");
    let report = bed.sync();
    assert!(report.waits.is_empty() && report.wanting.is_empty());
    assert!(!bed.answers(3, 80) && bed.answers(3, 90));
}

#[test]
fn what_a_former_agent_left_stays_until_there_is_room() {
    let mut bed = Bed::growing(PolicyMaps::with(64, 8, 64));
    bed.cluster
        .policy(policy("x/q", "pod=b", Some(vec![]), None));
    bed.sync();
    let before = bed.maps.contents();
    bed.restart();
    bed.cluster.policy(many_ports());
    bed.cluster.pod("x/late", "pod=b", 1, 4);
    let report = bed.sync();
    assert!(report.standstill.unwrap().contains("INTERVALS"));
    assert!(report.refused.is_empty() && report.wanting.contains_key("INTERVALS"));
    assert!(!bed.engine.ready(3) && !bed.engine.ready(4));
    assert_eq!(bed.maps.contents().words, before.words);
    assert!(!bed.answers(3, 1000) && bed.answers(2, 1000) && !bed.answers(4, 1000));
    let report = bed.pass(PATIENCE);
    assert_eq!(
        (names(&report.refused), report.standstill),
        (vec!["x/q".to_owned()], None)
    );
    assert!(bed.engine.ready(3) && !bed.answers(3, 1000) && bed.answers(2, 1000));
    assert!(grow(&mut bed).refused.is_empty());
    assert!(bed.answers(3, 1000) && bed.answers(4, 1000) && !bed.answers(4, 1001));
}

/// Who was there, and which policies counted last: an independent account.
#[derive(Default)]
struct Account {
    held: BTreeSet<String>,
    good: BTreeMap<ObjectName, Arc<NetworkPolicy>>,
}

impl Account {
    /// The cluster as it is for pods that were there.
    fn as_ever(&self, cluster: &Cluster, waits: &[&ObjectName]) -> Cluster {
        let mut held = cluster.clone();
        for name in waits {
            held.snapshot.policies.remove(*name);
            let good = self.good.get_key_value(*name);
            let good = good.map(|(name, policy)| (name.clone(), Arc::clone(policy)));
            held.snapshot.policies.extend(good);
        }
        held
    }

    /// Takes note of what was put in force.
    fn settle(&mut self, cluster: &Cluster, waits: &[&ObjectName]) {
        let now = &cluster.snapshot.policies;
        let versions = waits
            .iter()
            .flat_map(|name| [now.get(*name), self.good.get(*name)]);
        let waiting: Vec<_> = versions.flatten().cloned().collect();
        let is_free = |pod| !waiting.iter().any(|policy| selects(policy, cluster, pod));
        let held = cluster.endpoints.iter();
        let held = held.filter(|e| self.held.contains(&e.uid) || is_free(&e.pod));
        self.held = held.map(|e| e.uid.clone()).collect();
        self.good
            .retain(|name, _| waits.contains(&name) && now.contains_key(name));
        for (name, policy) in now.iter().filter(|(name, _)| !waits.contains(name)) {
            self.good.insert(name.clone(), Arc::clone(policy));
        }
    }
}

fn selects(policy: &NetworkPolicy, cluster: &Cluster, pod: &ObjectName) -> bool {
    let labels = &cluster.snapshot.pods[pod].labels;
    policy.name.namespace() == pod.namespace() && policy.pod_selector.matches(labels)
}

/// Whether a new pod is denied for something that waits.
fn is_closed(cluster: &Cluster, waits: &[&ObjectName], pod: &ObjectName, asked: &Question) -> bool {
    let node = &cluster.snapshot.nodes[OWN_NODE].addresses;
    if asked.direction == Direction::Ingress && node.contains(&asked.peer) {
        return false;
    }
    let waiting = waits.iter().map(|name| &cluster.snapshot.policies[*name]);
    let mut closing = waiting.filter(|policy| selects(policy, cluster, pod));
    closing.any(|policy| match asked.direction {
        Direction::Ingress => policy.ingress.is_some(),
        Direction::Egress => policy.egress.is_some(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// In maps that are too small and grow only at the end, whatever happens within patience: nothing is refused, pods that
    /// were there are judged by what counted last of what waits, new ones are denied by it.
    #[test]
    fn pods_that_were_there_keep_what_they_had_and_new_ones_are_denied(
        edits in prop::collection::vec(edit(), 4..30),
        strides in 3..9_usize,
        blocks in 2..7_u32,
        cidrs in 5..12_u32,
    ) {
        let maps = PolicyMaps::with(strides, blocks, 64);
        maps.limit_cidrs(cidrs);
        let mut bed = Bed::growing(maps);
        bed.cluster = start();
        let mut account = Account::default();
        for edit in edits {
            apply(&mut bed.cluster, &edit);
            let before = bed.maps.contents();
            let report = bed.sync();
            prop_assert!(report.refused.is_empty(), "{:?}", report.refused);
            let waits: Vec<_> = report.waits.keys().collect();
            let as_ever = account.as_ever(&bed.cluster, &waits);
            let mut rest = bed.cluster.clone();
            rest.snapshot.policies.retain(|name, _| !waits.contains(&name));
            let after = bed.maps.contents();
            for question in questions::all(&bed.cluster) {
                let own = bed.cluster.endpoints.iter().find(|e| e.id == question.endpoint).unwrap();
                let is_held = account.held.contains(&own.uid);
                let is = judge(&after, &question).unwrap();
                let expected = if report.standstill.is_some() {
                    judge(&before, &question).unwrap().allowed
                } else if is_held {
                    questions::expected(&as_ever, &question)
                } else {
                    !is_closed(&bed.cluster, &waits, &own.pod, &question)
                        && questions::expected(&rest, &question)
                };
                prop_assert_eq!(is.allowed, expected, "{:?} {:?} {:?}", question, is, report);
            }
            if report.standstill.is_none() {
                account.settle(&bed.cluster, &waits);
            }
            bed.now += Duration::from_millis(300);
        }
        bed.maps.resize(64, 256, 1 << 16);
        prop_assert!(bed.engine.grow());
        let report = bed.sync();
        prop_assert!(report.refused.is_empty() && report.waits.is_empty() && report.standstill.is_none());
        for question in questions::all(&bed.cluster) {
            let is = judge(&bed.maps.contents(), &question).unwrap();
            prop_assert_eq!(is.allowed, questions::expected(&bed.cluster, &question), "{:?}", question);
        }
    }
}

/// A policy denies a new pod for want of room, and is replaced by one that isolates nobody while all stands still.
#[test]
fn what_takes_the_place_of_a_policy_at_a_standstill_waits_and_is_not_refused() {
    let maps = PolicyMaps::with(3, 2, 64);
    maps.limit_cidrs(5);
    let mut bed = Bed::growing(maps);
    bed.cluster = start();
    let denies_all = Some(Vec::new());
    let served = PolicyPort::Named(Protocol::Udp, "web".into());
    let named = ContainerPort {
        name: "web".into(),
        protocol: Protocol::Udp,
        port: 79,
    };
    let edits = [
        Edit::Policy(policy("n0/policy2", "", None, denies_all).into()),
        Edit::Policy(
            policy(
                "n2/policy0",
                "",
                Some(vec![rule(vec![], vec![served])]),
                None,
            )
            .into(),
        ),
        Edit::Pod(2, 0, vec![named]),
        Edit::Pod(6, 0, Vec::new()),
        Edit::Pod(2, 0, Vec::new()),
        Edit::Policy(policy("n0/policy2", "", None, None).into()),
    ];
    let mut report = PolicyReport::default();
    for edit in edits {
        apply(&mut bed.cluster, &edit);
        report = bed.sync();
        assert!(report.refused.is_empty(), "{edit:?}: {:?}", report.refused);
    }
    assert!(report.standstill.is_some() && names(&report.waits) == ["n0/policy2"]);
    assert!(grow(&mut bed).waits.is_empty());
}
