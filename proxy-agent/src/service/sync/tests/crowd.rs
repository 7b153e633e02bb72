//! Many at once: each fails by itself.

use super::*;
use crate::{
    datapath::{Faults, Table as _},
    service::{
        MemoryMaps,
        render::services::{ServiceRow, rows},
    },
};

/// Services that share none of their frontends, and some of their servers.
fn many(count: usize) -> Vec<Option<Shape>> {
    let shape = |number: usize| {
        let host = |more: usize| ((number + more) as u8 % 200 + 1, false, false);
        Some(Shape::node_port(vec![host(0), host(1), host(2)]))
    };
    (0..count).map(shape).collect()
}

/// What clients see, without ids.
fn served(sync: &ServiceSync) -> Vec<Vec<String>> {
    let rows = rows(sync.tables(), &sync.names()).unwrap();
    rows.iter().map(ServiceRow::columns).collect()
}

#[test]
fn many_services_are_written_as_one_after_the_other_would_be() {
    let shapes = many(100);
    let [together, alone] = [(); 2].map(|()| MemoryMaps::new(4096, 0, 0));
    let mut crowd = ServiceSync::new(together.tables(), "here").unwrap();
    let report = crowd.sync(&snapshot(&shapes), &all_dirty(100));
    assert_eq!((report.synced, report.errors), (100, 0));
    let mut single = ServiceSync::new(alone.tables(), "here").unwrap();
    for count in 0..=shapes.len() {
        let mut dirty = Dirty::default();
        if count > 0 {
            dirty.service(&name(count - 1), Stamp::now());
        }
        single.sync(&snapshot(&shapes[..count]), &dirty);
    }
    assert_eq!(served(&crowd), served(&single));
    assert_eq!(together.counts().unwrap(), alone.counts().unwrap());
    assert_eq!(
        set_words(&together),
        set_words(&alone),
        "ports of the node's own sockets"
    );
}

fn set_words(maps: &MemoryMaps) -> Vec<u32> {
    crate::datapath::words::set_bits(&maps.node_ports)
}

#[test]
fn whose_write_fails_waits_alone_and_all_others_are_served() {
    let shapes = many(100);
    let snapshot = snapshot(&shapes);
    let maps = MemoryMaps::new(4096, 0, 0);
    let mut sync = ServiceSync::new(maps.tables(), "here").unwrap();
    maps.frontends6.set_faults(Faults::new(3, 10));
    let report = sync.sync(&snapshot, &all_dirty(100));
    let failed = report.failed.len();
    assert!((1..60).contains(&failed), "{failed} of 100 failed");
    assert_eq!(report.synced, 100 - failed);
    assert_eq!(report.errors, failed);
    for (owner, error) in &report.failed {
        assert!(error.contains("FRONTENDS6"), "{owner}: {error}");
    }
    // All that comes before.
    assert_eq!(maps.slots.entries().unwrap().len(), 100 * 2 * 3);
    maps.frontends6.set_faults(Faults::NONE);
    assert!(
        settle(&mut sync, &snapshot, &Dirty::default())
            .failed
            .is_empty()
    );
    let clean = MemoryMaps::new(4096, 0, 0);
    let mut other = ServiceSync::new(clean.tables(), "here").unwrap();
    other.sync(&snapshot, &all_dirty(100));
    assert_eq!(served(&sync), served(&other));
    assert_eq!(maps.counts().unwrap(), clean.counts().unwrap());
}

#[test]
fn those_that_fit_are_written_where_not_all_do() {
    let shapes = many(100);
    // Frontends of IPv4: one each for the cluster IP, the node port and the load balancer.
    let maps = MemoryMaps::new(300, 0, 0);
    let mut sync = ServiceSync::new(maps.tables(), "here").unwrap();
    let report = sync.sync(&snapshot(&shapes), &all_dirty(100));
    // Slots are what there is not enough of: three in each family.
    assert_eq!((report.synced, report.failed.len()), (50, 50));
    assert_eq!(maps.slots.entries().unwrap().len(), 300);
    let errors: BTreeSet<&String> = report.failed.values().collect();
    let told = "BACKEND_SLOTS has no room: 6 more entries needed, 0 free of 300";
    assert_eq!(
        errors.iter().map(|e| e.as_str()).collect::<Vec<_>>(),
        [told]
    );
}
