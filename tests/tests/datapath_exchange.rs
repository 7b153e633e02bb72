//! Maps that are exchanged: what programs write while that goes on is kept.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    collections::BTreeMap,
    fs,
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use proxy_agent::datapath::{
    Capacities, Datapath, DatapathConfig, Maps, Prefix, Table as _, Words as _,
    bpfsys::{map, object},
};
use proxy_common::{
    affinity::{Affinity, AffinityKey},
    fragments::{FragmentKey4, FragmentKey6, FragmentPorts},
    inside::Inside,
    policy::intervals::IntervalBlock,
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

/// Maps of each kind that the agent writes, with so many entries each.
fn of_each_kind(node: &Node, entries: u32) -> DatapathConfig {
    DatapathConfig {
        capacities: Capacities {
            frontends: entries,
            inside: entries,
            intervals: entries,
            policy_cells: 4 * entries,
            affinity: entries,
            ..Capacities::small()
        },
        ..datapath::config(node)
    }
}

/// The agent, as it writes entries of these maps, each by its number; 0 is none.
struct Writer {
    maps: Maps,
    model: BTreeMap<u32, u8>,
}

impl Writer {
    /// Numbers of entries, which fit in all of the maps.
    const ENTRIES: u32 = 500;

    fn write(&mut self, number: u32, says: u8) {
        let Maps {
            vips4,
            inside4,
            intervals,
            affinity,
            policy_cells,
            ..
        } = &mut self.maps;
        let (prefix, client) = (prefix(number), self::affinity(number));
        let value = u32::from(says);
        let written = if says == 0 {
            [
                vips4.remove(&number),
                inside4.remove(&prefix),
                intervals.remove(&number),
                affinity.remove(&client),
            ]
        } else {
            [
                vips4.set(&number, &value),
                inside4.set(&prefix, &Inside { reason: value }),
                intervals.set(&number, &block(says)),
                affinity.set(&client, &last_used(says.into())),
            ]
        };
        written.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
        policy_cells.set(number, says.into());
        self.model.insert(number, says);
    }

    /// Writes until it is to end; gives how often.
    fn run(&mut self, end: &AtomicBool) -> u32 {
        let mut writes = 0_u32;
        while !end.load(Ordering::Acquire) {
            let mixed = writes.wrapping_mul(2_654_435_761);
            self.write(1 + (mixed >> 8) % Self::ENTRIES, (mixed >> 24) as u8 % 7);
            writes += 1;
        }
        writes
    }

    /// What the maps hold under a number.
    fn holds(&self, number: u32) -> [u32; 5] {
        let maps = &self.maps;
        let vip = maps.vips4.get(&number).unwrap();
        let inside = maps.inside4.get(&prefix(number)).unwrap();
        let block = maps.intervals.get(&number).unwrap();
        let affinity = maps.affinity.get(&affinity(number)).unwrap();
        [
            vip.unwrap_or(0),
            inside.map_or(0, |inside| inside.reason),
            block.map_or(0, |block| block.level.into()),
            affinity.map_or(0, |affinity| affinity.last_used),
            maps.policy_cells.get(number) as u32,
        ]
    }
}

const fn prefix(number: u32) -> Prefix<u32> {
    Prefix {
        length: 32,
        data: number,
    }
}

fn block(says: u8) -> IntervalBlock {
    IntervalBlock {
        count: 1,
        level: says,
        ..IntervalBlock::default()
    }
}

#[test]
fn who_writes_goes_on_while_maps_are_exchanged() {
    let node = World::new("busycopy").unwrap().node("a").unwrap();
    let mut datapath = Datapath::open(&of_each_kind(&node, 1024)).unwrap();
    let maps = datapath.maps().clone();
    let mut writer = Writer {
        maps: maps.clone(),
        model: BTreeMap::new(),
    };
    (1..=Writer::ENTRIES).for_each(|number| writer.write(number, 1));
    // Larger, and smaller again.
    for entries in [4096, 1024] {
        let wanted = of_each_kind(&node, entries).capacities;
        let end = AtomicBool::new(false);
        let writes = thread::scope(|scope| {
            let running = scope.spawn(|| writer.run(&end));
            let prepared = datapath.resizer().prepare(&wanted, &BTreeMap::new());
            let exchanged = datapath.put_in_force(prepared.unwrap().unwrap());
            end.store(true, Ordering::Release);
            exchanged.unwrap();
            running.join().unwrap()
        });
        assert!(writes > 1000, "{writes} writes while maps were exchanged");
        let now = [
            maps.vips4.capacity(),
            maps.inside4.capacity(),
            maps.intervals.capacity(),
            maps.policy_cells.len() / 4,
        ];
        // Smaller ones keep some room to spare.
        let all = now
            .iter()
            .all(|now| (entries..=entries.max(2048)).contains(now));
        assert!(all, "{now:?} for {entries}");
        for (number, says) in &writer.model {
            assert_eq!(
                writer.holds(*number),
                [u32::from(*says); 5],
                "{number} of {entries}"
            );
        }
        // The pins lead to the same maps.
        let pinned = object::open_map(&datapath.pins().map("VIPS4")).unwrap();
        let there = writer.model.iter().filter(|(_, says)| **says != 0);
        for (number, says) in there {
            let found = map::lookup::<u32, u32>(pinned.as_fd(), number).unwrap();
            assert_eq!(found, Some(u32::from(*says)));
        }
    }
}

/// A map that is made smaller, and filled meanwhile: it stays as it is, with all that was written.
#[test]
fn a_map_that_is_filled_while_it_shrinks_stays_as_it_is() {
    let node = World::new("outgrown").unwrap().node("a").unwrap();
    let mut datapath = Datapath::open(&of_each_kind(&node, 4096)).unwrap();
    let mut maps = datapath.maps().clone();
    let smaller = of_each_kind(&node, 1024).capacities;
    let prepared = datapath.resizer().prepare(&smaller, &BTreeMap::new());
    let prepared = prepared.unwrap().unwrap();
    for number in 1..=2000 {
        maps.vips4.set(&number, &number).unwrap();
    }
    // And emptied again: it has missed some all the same.
    for number in 1500..=2000 {
        maps.vips4.remove(&number).unwrap();
    }
    for number in 100..1500 {
        maps.vips4.remove(&number).unwrap();
    }
    let error = datapath.put_in_force(prepared).unwrap_err();
    assert!(error.to_string().contains("VIPS4"), "{error}");
    assert_eq!(maps.vips4.capacity(), 4096);
    assert!(!datapath.pins().is_exchanging().unwrap());
    let mut entries = maps.vips4.entries().unwrap();
    entries.sort_unstable();
    let expected: Vec<_> = (1..100).map(|number| (number, number)).collect();
    assert_eq!(entries, expected);
    // Nothing follows any more.
    maps.vips4.set(&7, &8).unwrap();
    let prepared = datapath.resizer().prepare(&smaller, &BTreeMap::new());
    datapath.put_in_force(prepared.unwrap().unwrap()).unwrap();
    assert!(maps.vips4.capacity() < 4096);
    assert_eq!(maps.vips4.get(&7).unwrap(), Some(8));
}

/// A map that is full and made larger: a write that it refused meanwhile is not there afterwards.
#[test]
fn what_a_full_map_refused_is_not_in_the_larger_one() {
    let node = World::new("refused").unwrap().node("a").unwrap();
    let mut datapath = Datapath::open(&of_each_kind(&node, 1024)).unwrap();
    let Maps {
        mut vips4,
        mut inside4,
        ..
    } = datapath.maps().clone();
    let inside = |reason| Inside { reason };
    let vips = (1..1 << 16).find(|number| vips4.set(number, &1).is_err());
    let ranges = (1..1 << 16).find(|number| inside4.set(&prefix(*number), &inside(1)).is_err());
    let (vips, ranges) = (vips.unwrap(), ranges.unwrap());
    let larger = of_each_kind(&node, 4096).capacities;
    let prepared = datapath.resizer().prepare(&larger, &BTreeMap::new());
    let prepared = prepared.unwrap().unwrap();
    for more in 0..10 {
        assert!(vips4.set(&(vips + more), &2).is_err());
        let range = prefix(ranges + more);
        assert!(inside4.set(&range, &inside(2)).is_err());
        // What it has it takes in another way.
        vips4.set(&(more + 1), &3).unwrap();
        inside4.set(&prefix(more + 1), &inside(3)).unwrap();
    }
    datapath.put_in_force(prepared).unwrap();
    assert_eq!(vips4.entries().unwrap().len(), vips as usize - 1);
    assert_eq!(inside4.entries().unwrap().len(), ranges as usize - 1);
    for more in 0..10 {
        assert_eq!(vips4.get(&(more + 1)).unwrap(), Some(3));
        let range = prefix(more + 1);
        assert_eq!(inside4.get(&range).unwrap(), Some(inside(3)));
        vips4.set(&(vips + more), &4).unwrap();
    }
}
