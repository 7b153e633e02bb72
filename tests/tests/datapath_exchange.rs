//! Maps that are exchanged: what programs write while that goes on is kept.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{collections::BTreeMap, fs, os::fd::AsFd as _};

use proxy_agent::datapath::{
    Capacities, Datapath, DatapathConfig, Maps, Table as _,
    bpfsys::{map, object},
};
use proxy_common::{
    affinity::{Affinity, AffinityKey},
    fragments::{FragmentKey4, FragmentKey6, FragmentPorts},
};
use weir_tests::{
    datapath,
    world::{Node, World},
};

/// With maps that programs write, and that evict, of so many entries each.
fn config(node: &Node, entries: u32) -> DatapathConfig {
    DatapathConfig {
        capacities: Capacities {
            affinity: entries,
            fragments: entries,
            ..Capacities::small()
        },
        ..datapath::config(node)
    }
}

/// An entry by its number, and what it says, in each map of that kind.
struct Written<'a>(&'a Maps);

impl Written<'_> {
    fn set(&self, number: u32, says: u16) {
        let mut maps = self.0.clone();
        let affinity = maps.affinity.set(&affinity(number), &last_used(says));
        let fragment4 = maps.fragments4.set(&fragment4(number), &ports(says));
        let fragment6 = maps.fragments6.set(&fragment6(number), &ports(says));
        affinity.and(fragment4).and(fragment6).unwrap();
    }

    fn says(&self, number: u32) -> [Option<u16>; 3] {
        let Self(maps) = self;
        let affinity = maps.affinity.get(&affinity(number)).unwrap();
        let fragments = [
            maps.fragments4.get(&fragment4(number)).unwrap(),
            maps.fragments6.get(&fragment6(number)).unwrap(),
        ];
        let [four, six] = fragments.map(|found| found.map(|ports| ports.source_port));
        [affinity.map(|found| found.last_used as u16), four, six]
    }
}

const fn affinity(number: u32) -> AffinityKey {
    AffinityKey {
        client: [0, 0, 0, number],
        service: 7,
    }
}

fn last_used(says: u16) -> Affinity {
    Affinity {
        backend: 1,
        last_used: says.into(),
    }
}

const fn fragment4(number: u32) -> FragmentKey4 {
    FragmentKey4 {
        source: 1,
        destination: 2,
        identification: number,
        scope: 0,
        protocol: 17,
    }
}

const fn fragment6(number: u32) -> FragmentKey6 {
    FragmentKey6 {
        source: [1; 4],
        destination: [2; 4],
        identification: number,
        scope: 0,
        protocol: 17,
    }
}

const fn ports(says: u16) -> FragmentPorts {
    FragmentPorts {
        source_port: says,
        destination_port: 0,
    }
}

fn capacities(maps: &Maps) -> [u32; 3] {
    let Maps {
        affinity,
        fragments4,
        fragments6,
        ..
    } = maps;
    [
        affinity.capacity(),
        fragments4.capacity(),
        fragments6.capacity(),
    ]
}

#[test]
fn what_is_written_after_maps_were_prepared_is_there_when_they_are_in_force() {
    let node = World::new("latecopy").unwrap().node("a").unwrap();
    let mut datapath = Datapath::open(&config(&node, 1024)).unwrap();
    let maps = datapath.maps().clone();
    let written = Written(&maps);
    written.set(1, 10);
    written.set(2, 20);
    let larger = config(&node, 2048).capacities;
    let prepared = datapath.resizer().prepare(&larger, &BTreeMap::new());
    let prepared = prepared.unwrap().unwrap();
    // Another word of what was copied, and something new.
    written.set(2, 21);
    written.set(3, 30);
    datapath.put_in_force(prepared).unwrap();
    assert_eq!(capacities(&maps), [2048; 3]);
    for (number, says) in [(1, 10), (2, 21), (3, 30)] {
        assert_eq!(written.says(number), [Some(says); 3], "{number}");
    }
}

/// An agent ends between the last copy and the last program: some programs went by the new maps, others by the old.
#[test]
fn what_was_written_to_either_map_while_programs_were_exchanged_is_kept() {
    let node = World::new("latewrite").unwrap().node("a").unwrap();
    let larger = config(&node, 2048);
    {
        let datapath = Datapath::open(&config(&node, 1024)).unwrap();
        let old = datapath.maps().clone();
        Written(&old).set(1, 10);
        let prepared = datapath.resizer();
        let prepared = prepared.prepare(&larger.capacities, &BTreeMap::new());
        drop(prepared.unwrap().unwrap());
        let pins = datapath.pins();
        fs::rename(pins.building(), pins.next()).unwrap();
        Written(&old).set(2, 20);
        // Two programs wrote of one flow: what the new map says counts.
        Written(&old).set(3, 30);
        let new = |name: &str| object::open_map(&pins.next().join(name)).unwrap();
        map::update(new("AFFINITY").as_fd(), &affinity(3), &last_used(31)).unwrap();
        map::update(new("FRAGMENTS4").as_fd(), &fragment4(3), &ports(31)).unwrap();
        map::update(new("FRAGMENTS6").as_fd(), &fragment6(3), &ports(31)).unwrap();
    }
    let datapath = Datapath::open(&larger).unwrap();
    assert_eq!(capacities(datapath.maps()), [2048; 3]);
    assert!(!datapath.pins().is_exchanging().unwrap());
    for (number, says) in [(1, 10), (2, 20), (3, 31)] {
        let found = Written(datapath.maps()).says(number);
        assert_eq!(found, [Some(says); 3], "{number}");
    }
}
