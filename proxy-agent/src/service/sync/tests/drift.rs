//! What an outside hand does to the maps of Services, and how it is put right.

use std::fmt::Debug;

use super::*;
use crate::{
    datapath::{MemoryTable, Table as _},
    service::MemoryMaps,
};

/// Something done to one of the entries of a map, by its number.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Remove(usize),
    /// It gets the value of the next one.
    Overwrite(usize),
    /// It goes, and the next one is put under a key of nobody.
    Move(usize),
}

fn harm() -> impl Strategy<Value = (usize, Harm)> {
    let kinds = prop_oneof![
        (0_usize..50).prop_map(Harm::Remove),
        (0_usize..50).prop_map(Harm::Overwrite),
        (0_usize..50).prop_map(Harm::Move),
    ];
    (0_usize..7, kinds)
}

/// Changes a table so; `key` makes a key that nobody has.
fn change<K, V>(table: &MemoryTable<K, V>, harm: Harm, key: impl Fn(K) -> K)
where
    K: Copy + Ord + Debug + Send,
    V: Copy + PartialEq + Debug + Send,
{
    let mut table = table.clone();
    let entries = table.entries().unwrap();
    let entry = |number: usize| entries.get(number % entries.len().max(1)).copied();
    match harm {
        Harm::Remove(number) => {
            if let Some((key, _)) = entry(number) {
                table.remove(&key).unwrap();
            }
        }
        Harm::Overwrite(number) => {
            if let (Some((key, _)), Some((_, value))) = (entry(number), entry(number + 1)) {
                table.set(&key, &value).unwrap();
            }
        }
        Harm::Move(number) => {
            if let (Some((old, _)), Some((other, value))) = (entry(number), entry(number + 1)) {
                table.remove(&old).unwrap();
                table.set(&key(other), &value).unwrap();
            }
        }
    }
}

fn inflict(maps: &MemoryMaps, harms: &[(usize, Harm)]) {
    for (map, harm) in harms.iter().copied() {
        match map {
            0 => change(&maps.frontends4, harm, |mut key| {
                key.port ^= 0x0f0f;
                key
            }),
            1 => change(&maps.frontends6, harm, |mut key| {
                key.port ^= 0x0f0f;
                key
            }),
            2 => change(&maps.backends4, harm, |id| id + 5000),
            3 => change(&maps.backends6, harm, |id| id + 5000),
            4 => change(&maps.slots, harm, |mut key| {
                key.index += 1 << 21;
                key
            }),
            5 => change(&maps.maglev, harm, |mut key| {
                key.set += 5000;
                key
            }),
            _ => change(&maps.members, harm, |mut key| {
                key.set += 5000;
                key
            }),
        }
    }
}

fn contents(maps: &MemoryMaps) -> impl PartialEq + Debug + use<> {
    (
        maps.frontends4.entries().unwrap(),
        maps.frontends6.entries().unwrap(),
        maps.backends4.entries().unwrap(),
        maps.backends6.entries().unwrap(),
        maps.slots.entries().unwrap(),
        maps.members.entries().unwrap(),
        maps.maglev.entries().unwrap(),
    )
}

proptest! {
    #[test]
    fn whatever_it_is_the_maps_are_as_they_were_though_writes_fail(
        shapes in prop::collection::vec(shape(), 3),
        harms in prop::collection::vec(harm(), 1..20),
        seed in any::<u64>(),
        budget in 1_usize..20,
        maps_alone in any::<bool>(),
    ) {
        let maps = MemoryMaps::new(4096, 0, 0);
        let sync = ServiceSync::new(maps.tables(), "here").unwrap();
        let sync = sync.with_grace(Duration::ZERO);
        let mut sync = sync.with_maglev(251, Builder::default());
        let mut shapes = shapes;
        let mut taken = false;
        for shape in shapes.iter_mut().flatten() {
            shape.external_ip &= !taken;
            taken |= shape.external_ip;
        }
        let snapshot = snapshot(&shapes);
        settle(&mut sync, &snapshot, &all_dirty(3));
        // Services may differ on where a backend runs: the last one has it.
        verify(&mut sync, &snapshot);
        let before = contents(&maps);
        inflict(&maps, &harms);
        fail_writes(&maps, seed, 20);
        let mut report = SyncReport::default();
        let mut compare = |report: &mut SyncReport| {
            if maps_alone {
                sync.verify_maps(budget, report)
            } else {
                sync.verify(|| &snapshot, budget, report)
            }
        };
        while !compare(&mut report).unwrap_or(false) {}
        fail_writes(&maps, 0, 0);
        // What failed is found by the next comparison.
        while !compare(&mut report).unwrap() {}
        prop_assert!(!maps_alone || report.synced == 0, "nothing is planned");
        settle(&mut sync, &snapshot, &Dirty::default());
        prop_assert_eq!(contents(&maps), before);
        prop_assert_eq!(verify(&mut sync, &snapshot).drift, 0);
    }
}

/// Watches wait while the store is read.
#[test]
fn maps_are_compared_without_the_store_and_services_planned_a_few_at_a_time() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let mut sync = ServiceSync::new(maps.tables(), "here").unwrap();
    let shapes = vec![Some(restart::plain(&[1, 2])); 8];
    let snapshot = snapshot(&shapes);
    settle(&mut sync, &snapshot, &all_dirty(8));
    let (mut reads, mut pieces) = (0, 0);
    let mut report = SyncReport::default();
    let mut done = false;
    while !done {
        let read = || {
            reads += 1;
            &snapshot
        };
        done = sync.verify(read, 16, &mut report).unwrap();
        pieces += 1;
    }
    assert_eq!(report.drift, 0);
    assert_eq!(report.writes, 0);
    assert_eq!(report.synced, 8);
    // Each Service, the end of them, and those whose owners may be gone.
    assert_eq!(reads, 8 + 1 + 1);
    assert!(pieces > reads + 6, "{pieces} pieces");
}
