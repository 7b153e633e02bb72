//! Maglev tables beside their Services: made, led to, followed, healed, removed.

use proxy_common::{
    backends::SlotKey,
    frontends::{FLAG_CLUSTER_IP, Frontend},
    maglev::{CHUNK, MaglevKey},
};

use super::*;
use crate::{
    datapath::{Faults, MemoryTable, Table as _},
    service::{
        MemoryMaps,
        maglev::{Builder, build::Backend, build::build},
        pool::server4,
        render::maglev::rows,
    },
    watchdog::Watchdog,
};

const SIZE: u16 = 1021;

fn start(maps: &MemoryMaps, builder: Builder) -> ServiceSync {
    let sync = ServiceSync::new(maps.tables(), "here").unwrap();
    sync.with_grace(Duration::ZERO).with_maglev(SIZE, builder)
}

fn shape(hosts: &[u8]) -> Shape {
    Shape::node_port(hosts.iter().map(|h| (*h, false, false)).collect())
}

fn state(hosts: &[u8]) -> Snapshot {
    snapshot(&[Some(shape(hosts))])
}

/// The frontends of IPv4 that are reached from outside.
fn outside(maps: &MemoryMaps) -> Vec<Frontend> {
    let all = maps.frontends4.entries().unwrap().into_iter();
    let outside = all.filter(|(_, f)| f.flags & FLAG_CLUSTER_IP == 0);
    outside.map(|(_, frontend)| frontend).collect()
}

/// Addresses of who has each place of the table to which a frontend leads.
fn table(maps: &MemoryMaps, frontend: &Frontend) -> Vec<IpAddr> {
    let places = 0..frontend.maglev as u16;
    let owner = |place: u16| {
        let slot = slot(maps, frontend.external.id, place);
        let id = maps.slots.get(&slot).unwrap().expect("the slot");
        let backend = maps.backends4.get(&id).unwrap().expect("the backend");
        server4(&backend).address
    };
    places.map(owner).collect()
}

fn slot(maps: &MemoryMaps, set: u32, place: u16) -> SlotKey {
    let key = MaglevKey {
        set,
        size: SIZE,
        chunk: place / CHUNK as u16,
    };
    let chunk = maps.maglev.get(&key).unwrap().expect("the chunk");
    let index = chunk.slots[usize::from(place % CHUNK as u16)].into();
    SlotKey { set, index }
}

/// As the builder makes it of these hosts.
fn expected(hosts: &[u8]) -> Vec<IpAddr> {
    let backends = hosts.iter().map(|host| Backend {
        address: address(&format!("10.0.0.{host}")),
        port: 8080,
        weight: 1,
    });
    let backends: Vec<Backend> = backends.collect();
    let places = build(SIZE, &backends).into_iter();
    places.map(|n| backends[usize::from(n)].address).collect()
}

#[test]
fn what_is_reached_from_outside_is_led_to_a_table_that_follows_its_set() {
    for beside in [false, true] {
        let builder = if beside {
            Builder::beside(&Watchdog::default()).unwrap()
        } else {
            Builder::default()
        };
        let maps = MemoryMaps::new(4096, 0, 0);
        let mut sync = start(&maps, builder);
        // Rolled over, grown, shrunk.
        for hosts in [&[1, 2, 3][..], &[2, 3, 4], &[2, 3, 4, 5, 6], &[6, 2]] {
            settle(&mut sync, &state(hosts), &all_dirty(1));
            let frontends = outside(&maps);
            assert_eq!(frontends.len(), 2, "NodePort and load balancer");
            for frontend in &frontends {
                assert_eq!(frontend.maglev, u32::from(SIZE));
                assert_eq!(table(&maps, frontend), expected(hosts), "{hosts:?}");
            }
        }
        let inside = maps.frontends4.entries().unwrap().into_iter();
        let mut inside = inside.filter(|(_, f)| f.flags & FLAG_CLUSTER_IP != 0);
        assert!(inside.all(|(_, f)| f.maglev == 0));
        assert_eq!(maps.maglev.entries().unwrap().len(), 2 * 5, "two families");
        // One backend needs none.
        settle(&mut sync, &state(&[6]), &all_dirty(1));
        assert!(outside(&maps).iter().all(|f| f.maglev == 0));
        assert!(maps.maglev.entries().unwrap().is_empty());
        settle(&mut sync, &state(&[6, 7]), &all_dirty(1));
        assert_eq!(maps.maglev.entries().unwrap().len(), 2 * 5);
        settle(&mut sync, &snapshot(&[]), &all_dirty(1));
        assert!(maps.maglev.entries().unwrap().is_empty());
    }
}

#[test]
fn where_there_is_no_room_it_is_random_and_told_until_there_is() {
    let maps = MemoryMaps::new(4096, 0, 0);
    // One and a half.
    let narrow = MemoryTable::new("MAGLEV", 7, Faults::NONE);
    let maps = MemoryMaps {
        maglev: narrow.clone(),
        ..maps
    };
    let mut sync = start(&maps, Builder::default());
    let both = |first: &[u8]| snapshot(&[Some(shape(first)), Some(shape(&[1, 2]))]);
    let report = settle(&mut sync, &both(&[1, 2]), &all_dirty(2));
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(narrow.entries().unwrap().len(), 5);
    let led = |maps: &MemoryMaps| outside(maps).iter().filter(|f| f.maglev != 0).count();
    assert_eq!(led(&maps), 2);
    let told = sync.without_tables();
    let word = "3 ports of Services choose at random for want of Maglev tables";
    assert!(told[0].starts_with(word), "{told:?}");
    let mut room = crate::subject::Room::new();
    sync.waits_for_room(&mut room);
    assert_eq!(room.get("MAGLEV"), Some(&15));
    // Who has one needs it no more.
    settle(&mut sync, &both(&[1]), &all_dirty(2));
    assert_eq!(sync.without_tables().len(), 1);
    assert_eq!(led(&maps), 2);
    assert_eq!(narrow.entries().unwrap().len(), 5);
}

#[test]
fn an_outside_hand_is_found_and_the_table_built_anew() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let mut sync = start(&maps, Builder::default());
    let state = state(&[1, 2, 3]);
    settle(&mut sync, &state, &all_dirty(1));
    let before = maps.maglev.entries().unwrap();
    let mut map = maps.maglev.clone();
    let (first, mut chunk) = before[0];
    chunk.slots[7] ^= 1;
    map.set(&first, &chunk).unwrap();
    map.remove(&before[4].0).unwrap();
    map.set(&MaglevKey { set: 99, ..first }, &chunk).unwrap();
    let report = verify(&mut sync, &state);
    assert!(report.drift >= 3, "{}", report.drift);
    settle(&mut sync, &state, &Dirty::default());
    assert_eq!(maps.maglev.entries().unwrap(), before);
    assert_eq!(verify(&mut sync, &state).drift, 0);
}

#[test]
fn a_restart_writes_no_table_anew_and_another_size_takes_over() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let state = state(&[1, 2, 3]);
    settle(&mut start(&maps, Builder::default()), &state, &all_dirty(1));
    let (writes, frontends) = (maps.maglev.writes(), outside(&maps));
    let mut sync = start(&maps, Builder::default());
    settle(&mut sync, &state, &Dirty::default());
    assert_eq!((maps.maglev.writes(), outside(&maps)), (writes, frontends));
    let other = ServiceSync::new(maps.tables(), "here").unwrap();
    let mut other = other
        .with_grace(Duration::ZERO)
        .with_maglev(251, Builder::default());
    settle(&mut other, &state, &Dirty::default());
    assert!(outside(&maps).iter().all(|f| f.maglev == 251));
    let sizes: BTreeSet<u16> = maps
        .maglev
        .entries()
        .unwrap()
        .iter()
        .map(|(k, _)| k.size)
        .collect();
    assert_eq!(sizes, [251].into());
    // Random again.
    let mut none = ServiceSync::new(maps.tables(), "here")
        .unwrap()
        .with_grace(Duration::ZERO);
    settle(&mut none, &state, &Dirty::default());
    assert!(outside(&maps).iter().all(|f| f.maglev == 0));
    assert!(maps.maglev.entries().unwrap().is_empty());
}

#[test]
fn a_dump_says_who_has_how_many_places() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let mut sync = start(&maps, Builder::default());
    settle(&mut sync, &state(&[1, 2]), &all_dirty(1));
    let rows = rows(&maps.tables(), &sync.names()).unwrap();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{} {} {}/{} {}",
                row.service, row.backend, row.places, row.size, row.used
            )
        })
        .collect();
    let golden = [
        "ns/service0 10.0.0.1:8080/TCP 511/1021 true",
        "ns/service0 10.0.0.2:8080/TCP 510/1021 true",
        "ns/service0 [fd00::1]:8080/TCP 511/1021 true",
        "ns/service0 [fd00::2]:8080/TCP 510/1021 true",
    ];
    assert_eq!(lines, golden);
}
