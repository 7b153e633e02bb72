//! An outside hand changes policy's maps, anyhow: a full comparison finds it and sets it right; no step of that
//! lets through what was denied and should be; whatever began meanwhile is judged anew.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: what fails here fails the test"
)]

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;
use proptest::{prelude::*, sample::Index};
use proxy_agent::policy::{
    PolicyEngine,
    engine::glance::Glanced,
    lookup::{Question, judge},
    view::PolicyView as _,
};
use proxy_common::policy::{
    cells::{Cell, LIST, ROW_STRIDE},
    peers::Peer,
    words::{PolicyWord, ROW_FIRST},
};
use weir_tests::policy::{
    cluster::{Cluster, OWN_NODE},
    maps::{Contents, PolicyMaps},
    questions,
    random::{apply, edit, start},
};

/// What an outside hand does.
#[derive(Clone, Debug)]
enum Damage {
    RemovePeer(Index),
    SetPeer(Index, u32, u32),
    RemoveRange(Index),
    SetRange(Index, u32, u32),
    AddPeer(u8, u32),
    AddRange(u8, u32),
    Cell(Index, Index, u64),
    Word(Index, u64),
    Block(Index, u8, u16, u16),
    OtherSide(u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    let (class, flags) = (0..6_u32, 0..16_u32);
    prop_oneof![
        index().prop_map(Damage::RemovePeer),
        (index(), class.clone(), flags.clone()).prop_map(|(i, c, f)| Damage::SetPeer(i, c, f)),
        index().prop_map(Damage::RemoveRange),
        (index(), class.clone(), flags).prop_map(|(i, c, f)| Damage::SetRange(i, c, f)),
        (1..255_u8, class.clone()).prop_map(|(host, c)| Damage::AddPeer(host, c)),
        (8..31_u8, class).prop_map(|(length, c)| Damage::AddRange(length, c)),
        (index(), index(), cell()).prop_map(|(row, i, cell)| Damage::Cell(row, i, cell)),
        (index(), word()).prop_map(|(i, word)| Damage::Word(i, word)),
        (index(), 0..3_u8, any::<u16>(), any::<u16>())
            .prop_map(|(i, count, low, high)| Damage::Block(i, count, low, high)),
        (1..255_u8).prop_map(Damage::OtherSide),
    ]
}

fn cell() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(1 << 32 | 1),
        (1..9_u64).prop_map(|n| n << 2 | LIST)
    ]
}

fn word() -> impl Strategy<Value = u64> {
    (0..6_u32, 0..6_u32, 0..2_u32, 0..9_u32).prop_map(|(ingress_row, egress_row, side, epoch)| {
        PolicyWord {
            ingress_row,
            egress_row,
            side,
            epoch,
        }
        .pack()
    })
}

/// Rows that words name.
fn rows(contents: &Contents) -> Vec<u32> {
    let words = contents.words.iter().map(|word| PolicyWord::unpack(*word));
    let mut rows: Vec<u32> = words.flat_map(|w| [w.ingress_row, w.egress_row]).collect();
    rows.sort_unstable();
    rows.dedup();
    rows.retain(|row| *row >= ROW_FIRST);
    rows
}

/// Blocks that cells in force name.
fn blocks(contents: &Contents) -> Vec<u32> {
    let cells = rows(contents).into_iter().flat_map(|row| {
        let header = row * ROW_STRIDE;
        (1..=contents.cell(header) as u32).map(move |i| header + i)
    });
    let cells = cells.map(|index| Cell::unpack(contents.cell(index)));
    cells.filter(|c| c.kind == LIST).map(|c| c.list).collect()
}

fn side(contents: &Contents) -> u32 {
    let used = contents.words.iter().find(|word| **word != 0);
    used.map_or(0, |word| PolicyWord::unpack(*word).side)
}

fn hit(c: &mut Contents, side: u32, sound: &Contents, damage: &Damage) {
    let half = side as usize;
    let mut peers: Vec<IpAddr> = sound.peers.keys().map(|(_, address)| *address).collect();
    peers.sort_unstable();
    let mut ranges: Vec<IpNetwork> = sound.ranges[half].iter().map(|(p, _)| p).collect();
    ranges.sort_unstable();
    let peer = |class, flags| Peer { class, flags };
    match damage {
        Damage::RemovePeer(i) => drop(c.peers.remove(&(side, *i.get(&peers)))),
        Damage::SetPeer(i, class, flags) => {
            c.peers.insert((side, *i.get(&peers)), peer(*class, *flags));
        }
        Damage::RemoveRange(i) => drop(c.ranges[half].remove(*i.get(&ranges))),
        Damage::SetRange(i, class, flags) => {
            c.ranges[half].insert(*i.get(&ranges), peer(*class, *flags));
        }
        Damage::AddPeer(host, class) => {
            c.peers
                .insert((side, [10, 0, 2, *host].into()), peer(*class, 0));
        }
        Damage::AddRange(length, class) => {
            let range = IpNetwork::new([10, 0, 2, 0].into(), *length).unwrap();
            c.ranges[half].insert(range, peer(*class, 0));
        }
        Damage::Cell(row, i, cell) => {
            let rows = rows(sound);
            if !rows.is_empty() {
                let header = row.get(&rows) * ROW_STRIDE;
                let classes = sound.cell(header) as usize;
                c.cells[header as usize + i.index(classes + 1)] = *cell;
            }
        }
        Damage::Word(i, word) => c.words[i.index(sound.words.len())] = *word,
        Damage::Block(i, count, low, high) => {
            let blocks = blocks(sound);
            if let Some(block) = (!blocks.is_empty()).then(|| i.get(&blocks)) {
                let block = c.blocks.get_mut(block).unwrap();
                block.count = *count;
                (block.intervals[0].low, block.intervals[0].high) = (*low, *high);
            }
        }
        Damage::OtherSide(host) => {
            c.peers
                .insert((1 - side, [10, 0, 1, *host].into()), peer(0, 0));
        }
    }
}

/// What is denied now, and should be.
fn denied(contents: &Contents, cluster: &Cluster) -> Vec<Question> {
    let mut all = questions::all(cluster);
    all.retain(|q| !questions::expected(cluster, q) && !judge(contents, q).unwrap().allowed);
    all
}

/// Verifies under watch until all is right; gives how much differed at first, and what was let through.
fn watched_verify(
    engine: &mut PolicyEngine,
    maps: &PolicyMaps,
    cluster: &Cluster,
    now: Instant,
) -> (usize, Vec<String>) {
    let denied = denied(&maps.contents(), cluster);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let leaks = Arc::clone(&seen);
    maps.watch(Some(Box::new(move |contents, _| {
        let open = denied
            .iter()
            .filter(|q| judge(contents, q).unwrap().allowed);
        leaks.lock().unwrap().extend(open.map(|q| format!("{q:?}")));
    })));
    let mut report = engine.verify_at(now).unwrap();
    let drift = report.drift;
    for attempt in 0.. {
        if report.broken.is_none() {
            break;
        }
        if attempt == 60 {
            maps.fail(0, 0);
        }
        report = engine.verify_at(now).unwrap();
    }
    maps.watch(None);
    maps.fail(0, 0);
    let seen = seen.lock().unwrap().clone();
    (drift, seen)
}

/// Compares all in pieces; what comes of it.
fn glance(engine: &mut PolicyEngine, budget: usize) -> Glanced {
    loop {
        match engine.glance(budget).unwrap() {
            Glanced::More => {}
            last => return last,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_an_outside_hand_did_is_found_and_set_right(
        edits in prop::collection::vec(edit(), 8..24),
        damages in prop::collection::vec(damage(), 1..8),
        seed in prop::option::of(any::<u64>()),
        budget in 1..40_usize,
    ) {
        let mut cluster = start();
        for edit in &edits {
            apply(&mut cluster, edit);
        }
        let maps = PolicyMaps::new(64);
        let mut engine = PolicyEngine::new(maps.tables(), OWN_NODE);
        let mut now = Instant::now();
        engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
        prop_assert_eq!(engine.verify_at(now).unwrap().drift, 0);
        prop_assert_eq!(glance(&mut engine, budget), Glanced::Done);

        let sound = maps.contents();
        let side = side(&sound);
        maps.tamper(|contents| damages.iter().for_each(|d| hit(contents, side, &sound, d)));
        let damaged = maps.contents();
        let differs = sound.words != damaged.words
            || sound.cells != damaged.cells
            || sound.peers != damaged.peers
            || sound.blocks != damaged.blocks
            || (0..2).any(|s| !same(&sound.ranges[s], &damaged.ranges[s]));
        prop_assert_eq!(engine.drift().unwrap().is_empty(), !differs);
        prop_assert_eq!(glance(&mut engine, budget), if differs { Glanced::Differs } else { Glanced::Done });

        maps.fail(if seed.is_some() { 20 } else { 0 }, seed.unwrap_or(0));
        let (drift, leaks) = watched_verify(&mut engine, &maps, &cluster, now);
        prop_assert_eq!(drift > 0, differs);
        prop_assert!(leaks.is_empty(), "{}: {}", leaks.len(), leaks[0]);
        prop_assert!(engine.drift().unwrap().is_empty());
        let mended = maps.contents();
        for question in questions::all(&cluster) {
            let answer = judge(&mended, &question).unwrap();
            prop_assert_eq!(answer.allowed, questions::expected(&cluster, &question), "{:?}", answer);
        }
        let only_other_side = damages.iter().all(|d| matches!(d, Damage::OtherSide(_)));
        for endpoint in cluster.endpoints.iter().filter(|_| differs && !only_other_side) {
            let epoch = |c: &Contents| PolicyWord::unpack(c.word(endpoint.id)).epoch;
            let word_was_hit = sound.word(endpoint.id) != damaged.word(endpoint.id);
            let others = Contents { words: sound.words.clone(), ..damaged.clone() };
            if word_was_hit || lookups_differ(&sound, &others) {
                prop_assert!(epoch(&mended) > epoch(&sound).max(epoch(&damaged)));
            }
        }

        // Strays and the blocks of lists written anew go after a while; nothing else changes.
        now += Duration::from_secs(2);
        engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
        let rest = maps.contents();
        prop_assert_eq!(&rest.words, &mended.words);
        prop_assert_eq!(&rest.peers, &sound.peers);
        prop_assert!(engine.drift().unwrap().is_empty());
        cluster.snapshot.pods.clear();
        cluster.endpoints.clear();
        for _ in 0..4 {
            now += Duration::from_secs(2);
            engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap();
        }
        let usage = engine.sync_at(now, &cluster.snapshot, &cluster.endpoints).unwrap().usage;
        prop_assert_eq!((usage.rows, usage.blocks), (0, 1), "block 0 is never free");
    }
}

fn same(a: &Ranges, b: &Ranges) -> bool {
    a.len() == b.len() && a.iter().all(|(prefix, peer)| b.get(prefix) == Some(peer))
}

type Ranges = proxy_agent::policy::prefix_map::PrefixMap<Peer>;

/// Whether anything but words differs on the side in use.
fn lookups_differ(a: &Contents, b: &Contents) -> bool {
    let side = side(a);
    let peers = |c: &Contents| {
        let mut peers: Vec<_> = c
            .peers
            .iter()
            .filter(|((s, _), _)| *s == side)
            .map(|(k, v)| (*k, *v))
            .collect();
        peers.sort_unstable();
        peers
    };
    a.cells != b.cells
        || a.blocks != b.blocks
        || peers(a) != peers(b)
        || !same(&a.ranges[side as usize], &b.ranges[side as usize])
}
