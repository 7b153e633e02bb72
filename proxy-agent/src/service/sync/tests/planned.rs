//! A plan is a value: nothing is known of it but what of it was written.

use super::*;
use crate::{
    datapath::Table as _,
    service::{
        MemoryMaps,
        plan::slot,
        render::services::{ServiceRow, rows},
    },
};

fn start(maps: &MemoryMaps) -> ServiceSync {
    let sync = ServiceSync::new(maps.tables(), "here").unwrap();
    sync.with_grace(Duration::ZERO)
}

/// What is known is what the maps hold, no more and no less.
fn known_is_written(sync: &ServiceSync, maps: &MemoryMaps) {
    let image = sync.image();
    let v4 = maps.frontends4.entries().unwrap().into_iter();
    let v6 = maps.frontends6.entries().unwrap().into_iter();
    let mut frontends: Vec<_> = v4.map(|(k, v)| (FrontendKey::V4(k), v)).collect();
    frontends.extend(v6.map(|(k, v)| (FrontendKey::V6(k), v)));
    assert_eq!(image.frontends().collect::<Vec<_>>(), frontends);
    let backends: Vec<_> = image.pool4.entries().collect();
    assert_eq!(backends, maps.backends4.entries().unwrap());
    let backends: Vec<_> = image.pool6.entries().collect();
    assert_eq!(backends, maps.backends6.entries().unwrap());
    let slots = image.sets().flat_map(|set| {
        let ids = image.slots(set).iter().enumerate();
        let ids = ids.filter(|(_, id)| **id != 0);
        ids.map(move |(index, id)| (slot(set, index), *id))
    });
    assert_eq!(slots.collect::<Vec<_>>(), maps.slots.entries().unwrap());
    let members: Vec<_> = image.members.iter().map(|(k, v)| (*k, *v)).collect();
    assert_eq!(members, maps.members.entries().unwrap());
}

/// No id that something knows is given out again.
fn ids_only_grow(sync: &ServiceSync) {
    let image = &sync.image;
    let [service, set, backend] = image.highest_ids();
    let Ids {
        service: last,
        set: last_set,
        backend: last_backend,
    } = sync.ids;
    assert!(service <= last && set <= last_set && backend <= last_backend);
    let mut stranded = sync.stranded.values().flat_map(|s| &s.backends);
    assert!(stranded.all(|id| *id <= last_backend));
    let ports = || sync.ports.values().flatten();
    assert!(ports().all(|port| port.service <= last));
    assert!(ports().flat_map(Port::sets).all(|set| set <= last_set));
}

/// What clients see, and how much it takes.
fn seen(sync: &ServiceSync, maps: &MemoryMaps) -> (Vec<Vec<String>>, Vec<(&'static str, usize)>) {
    let rows = rows(sync.tables(), &sync.names()).unwrap();
    let columns = rows.iter().map(ServiceRow::columns).collect();
    (columns, maps.counts().unwrap().into())
}

#[test]
fn a_plan_of_which_nothing_was_written_has_never_been() {
    let shapes = |count: usize| {
        let shape = |n: usize| Some(Shape::node_port(vec![(n as u8 + 1, false, false)]));
        snapshot(&(0..count).map(shape).collect::<Vec<_>>())
    };
    for count in [1, 30] {
        let maps = MemoryMaps::new(4096, 0, 0);
        let mut sync = start(&maps);
        sync.sync(&shapes(0), &Dirty::default());
        fail_writes(&maps, 1, 100);
        let report = sync.sync(&shapes(count), &all_dirty(count));
        assert_eq!((report.failed.len(), report.writes), (count, 0));
        assert_eq!(sync.ids, Ids::default());
        assert!(sync.ports.is_empty() && sync.stranded.is_empty());
        assert_eq!(sync.image().pool4.len() + sync.image().sets().count(), 0);
        known_is_written(&sync, &maps);
    }
}

#[test]
fn what_finds_no_room_takes_none_of_the_ids() {
    let shape = |hosts: u8| {
        let endpoints = (1..=hosts).map(|host| (host, false, false)).collect();
        Some(Shape::node_port(endpoints))
    };
    let maps = MemoryMaps::new(12, 0, 0);
    let mut sync = start(&maps);
    sync.sync(&snapshot(&[shape(2)]), &all_dirty(1));
    let (ids, backends) = (sync.ids, sync.image().pool4.len());
    let report = sync.sync(&snapshot(&[shape(2), shape(11)]), &all_dirty(2));
    assert_eq!(report.failed.len(), 1);
    assert_eq!((sync.ids, sync.image().pool4.len()), (ids, backends));
    assert!(sync.image().pool4.idle_ids().next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever was tried in between, and wherever that failed.
    #[test]
    fn what_was_tried_in_vain_leaves_nothing_behind(
        first in prop::collection::vec(shape(), 12),
        tried in prop::collection::vec(prop::collection::vec(shape(), 12), 1..4),
        last in prop::collection::vec(shape(), 12),
        seed in any::<u64>(), percent in 1_u64..60,
    ) {
        let alone = |mut shapes: Vec<Option<Shape>>| {
            for shape in shapes.iter_mut().flatten() {
                // Who has what several want depends on who was there before, and what they do not agree on on who came last.
                shape.external_ip = false;
                for (host, here, _) in &mut shape.endpoints {
                    *here = *host % 2 == 0;
                }
            }
            snapshot(&shapes)
        };
        let maps = MemoryMaps::new(4096, 0, 0);
        let mut sync = start(&maps);
        settle(&mut sync, &alone(first), &all_dirty(12));
        for (number, shapes) in (0..).zip(tried) {
            fail_writes(&maps, seed.wrapping_add(number), percent);
            sync.sync(&alone(shapes), &all_dirty(12));
            known_is_written(&sync, &maps);
            ids_only_grow(&sync);
        }
        fail_writes(&maps, 0, 0);
        let last = alone(last);
        settle(&mut sync, &last, &all_dirty(12));
        prop_assert!(sync.stranded.is_empty() && sync.failed.is_empty());
        known_is_written(&sync, &maps);
        let clean = MemoryMaps::new(4096, 0, 0);
        let mut other = start(&clean);
        settle(&mut other, &last, &all_dirty(12));
        prop_assert_eq!(seen(&sync, &maps), seen(&other, &clean));
    }
}
