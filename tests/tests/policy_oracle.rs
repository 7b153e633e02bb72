//! Random clusters: compiled maps, looked up as the kernel does, agree with the oracle for every pair, port
//! and protocol in both directions; after every edit; while each write of a sync is done; when writes fail;
//! and across restarts.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proxy_agent::policy::{PolicyEngine, PolicyReport, lookup::judge, view::PolicyView as _};
use proxy_common::policy::words::{PolicyWord, ROW_DENY_ALL};
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE, pods, policy, rule, tcp},
    maps::{Contents, PolicyMaps},
    questions,
    random::{Edit, apply, edit, start},
    watch::watched_sync,
};

/// The maps answer every question as the oracle does.
fn agree(maps: &PolicyMaps, cluster: &Cluster) -> Result<(), TestCaseError> {
    let contents = maps.contents();
    for question in questions::all(cluster) {
        let answer = judge(&contents, &question).unwrap();
        let expected = questions::expected(cluster, &question);
        prop_assert_eq!(answer.allowed, expected, "{:?} {:?}", question, answer);
    }
    Ok(())
}

/// Endpoints of which some verdict changed have a new epoch, so that their flows are judged anew.
fn epochs_grow(
    maps: &PolicyMaps,
    was: &Contents,
    before: &Cluster,
    now: &Cluster,
) -> Result<(), TestCaseError> {
    let is = maps.contents();
    for question in questions::all(now) {
        let (old, new) = (was.word(question.endpoint), is.word(question.endpoint));
        let known = before.endpoints.iter().any(|e| e.id == question.endpoint);
        let changed = questions::expected(before, &question) != questions::expected(now, &question);
        if known && changed {
            let (old, new) = (PolicyWord::unpack(old), PolicyWord::unpack(new));
            prop_assert!(new.epoch > old.epoch, "{:?} {:?} {:?}", question, old, new);
        }
    }
    Ok(())
}

fn edited(edits: &[Edit]) -> Cluster {
    let mut cluster = start();
    for edit in edits {
        apply(&mut cluster, edit);
    }
    cluster
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_full_compile_agrees(edits in prop::collection::vec(edit(), 1..24)) {
        let cluster = edited(&edits);
        let maps = PolicyMaps::new(64);
        let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
        engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
        agree(&maps, &cluster)?;
    }

    #[test]
    fn every_step_of_every_sync_shows_old_or_new(
        first in prop::collection::vec(edit(), 8..16),
        batches in prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..5),
        pause in any::<bool>(),
    ) {
        let mut cluster = edited(&first);
        let maps = PolicyMaps::new(64);
        let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
        let mut now = Instant::now();
        engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
        for batch in batches {
            let before = cluster.clone();
            let was = maps.contents();
            for edit in &batch {
                apply(&mut cluster, edit);
            }
            now += Duration::from_secs(if pause { 2 } else { 0 });
            let (result, mistakes) = watched_sync(&mut engine, &maps, &before, &cluster, |engine| {
                engine.sync_at(now, &cluster.snapshot, &cluster.endpoints)
            });
            result.unwrap();
            prop_assert!(mistakes.is_empty(), "{batch:?}: {} {}", mistakes.len(), mistakes[0]);
            agree(&maps, &cluster)?;
            epochs_grow(&maps, &was, &before, &cluster)?;
            let words = maps.contents().words;
            engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
            prop_assert_eq!(words, maps.contents().words, "a sync without a change changes nothing");
        }
    }

    #[test]
    fn failed_writes_leave_the_old_verdicts_and_are_made_good(
        first in prop::collection::vec(edit(), 8..16),
        batches in prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..4),
        seed in any::<u64>(),
    ) {
        let mut cluster = start();
        let maps = PolicyMaps::new(64);
        let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
        let mut now = Instant::now();
        for batch in std::iter::once(&first).chain(&batches) {
            let before = cluster.clone();
            for edit in batch {
                apply(&mut cluster, edit);
            }
            maps.fail(10, seed);
            for attempt in 0..60 {
                if attempt == 59 {
                    maps.fail(0, 0);
                }
                now += Duration::from_secs(2);
                let (result, mistakes) = watched_sync(&mut engine, &maps, &before, &cluster, |engine| {
                    engine.sync_at(now, &cluster.snapshot, &cluster.endpoints)
                });
                prop_assert!(mistakes.is_empty(), "{attempt}: {}", mistakes[0]);
                if result.is_ok() {
                    break;
                }
            }
            agree(&maps, &cluster)?;
        }
    }

    #[test]
    fn a_restart_shows_old_or_new_wherever_the_agent_died(
        first in prop::collection::vec(edit(), 8..16),
        second in prop::collection::vec(prop::collection::vec(edit(), 0..3), 1..4),
        deaths in prop::collection::vec((0..3_u64, 0..400_u64), 0..3),
    ) {
        let mut cluster = edited(&first);
        let maps = PolicyMaps::new(256);
        let mut now = Instant::now();
        let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
        engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
        for batch in &second {
            let before = cluster.clone();
            for edit in batch {
                apply(&mut cluster, edit);
            }
            let lives = deaths.iter().map(|(big, small)| Some(big * 400 + small)).chain([None]);
            for life in lives {
                now += Duration::from_secs(2);
                engine = PolicyEngine::new(maps.tables(), OWN_NODE);
                maps.die_after(life);
                let (result, mistakes) = watched_sync(&mut engine, &maps, &before, &cluster, |engine| {
                    engine.sync_at(now, &cluster.snapshot, &cluster.endpoints)
                });
                result.unwrap();
                prop_assert!(mistakes.is_empty(), "{}", mistakes[0]);
                now += Duration::from_secs(2);
                engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
            }
            maps.die_after(None);
            agree(&maps, &cluster)?;
        }
    }

    #[test]
    fn nothing_is_left_when_the_last_pod_goes(
        first in prop::collection::vec(edit(), 8..16),
        second in prop::collection::vec(edit(), 1..8),
    ) {
        let mut cluster = edited(&first);
        let maps = PolicyMaps::new(64);
        let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
        let mut now = Instant::now();
        engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
        for edit in &second {
            apply(&mut cluster, edit);
        }
        engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
        cluster.snapshot.pods.clear();
        cluster.endpoints.clear();
        let mut report = PolicyReport::default();
        for _ in 0..6 {
            report = engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
            now += Duration::from_secs(2);
        }
        prop_assert_eq!(report.again_after, None);
        prop_assert_eq!(report.usage.rows, 0);
        prop_assert_eq!(report.usage.cells, 2 * 64);
        prop_assert_eq!(report.usage.blocks, 1);
        // Two nodes with two addresses, and the two pod ranges of each beside the two of length 0.
        prop_assert_eq!((report.usage.peers, report.usage.cidrs), (4, 6));
        prop_assert_eq!(report.usage.classes, 1);
        let contents = maps.contents();
        prop_assert_eq!(contents.peers.len(), 4);
        prop_assert!(contents.words.iter().all(|word| word.trailing_zeros() >= 40));
    }
}

#[test]
fn an_id_that_nobody_has_is_denied_before_the_lists_are_there() {
    let mut cluster = Cluster::new();
    cluster
        .namespace("n1", "")
        .pod("n1/kept", "app=a", 1, 5)
        .pod("n1/gone", "", 1, 6);
    let only_a = Some(vec![rule(vec![pods("app=a")], vec![tcp(80)])]);
    cluster.policy(policy("n1/only-a", "", only_a, None));
    let maps = PolicyMaps::new(64);
    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    engine.sync(&cluster.snapshot, &cluster.endpoints).unwrap();
    let before = maps.contents();
    let [kept, gone] = [0, 1].map(|i| cluster.endpoints[i].id);
    let unpack = |contents: &Contents, id| PolicyWord::unpack(contents.word(id));
    assert_ne!(unpack(&before, gone).ingress_row, ROW_DENY_ALL);

    let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
    engine.restore().unwrap();
    engine.deny_unused(&[kept].into());
    let after = maps.contents();
    assert_eq!(after.word(kept), before.word(kept));
    let denied = unpack(&after, gone);
    assert_eq!([denied.ingress_row, denied.egress_row], [ROW_DENY_ALL; 2]);
    assert!(
        denied.epoch > unpack(&before, gone).epoch,
        "what was allowed to whoever had it is judged anew"
    );
    assert!(engine.drift().unwrap().is_empty());
    engine.deny_unused(&[kept].into());
    assert_eq!(maps.contents().words, after.words, "once is enough");

    let mut now = Instant::now();
    for _ in 0..3 {
        engine
            .sync_at(now, &cluster.snapshot, &cluster.endpoints)
            .unwrap();
        now += Duration::from_secs(2);
    }
    agree(&maps, &cluster).unwrap();
}
