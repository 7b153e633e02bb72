//! What follows a batch of writes.

use proxy_common::affinity::{Affinity, AffinityKey};

use super::*;
use crate::{datapath::table::Table as _, service::MemoryMaps};

/// Three hosts, of which none terminates.
fn shape(udp: bool, affinity: bool) -> Shape {
    Shape {
        udp,
        node_port: true,
        external_local: false,
        internal_local: false,
        affinity,
        external_ip: false,
        sources: BTreeSet::new(),
        endpoints: vec![(1, true, false), (2, false, false), (3, false, false)],
    }
}

/// Services in maps in memory, of which a share of the writes fails.
struct Agent {
    maps: MemoryMaps,
    sync: ServiceSync,
}

impl Agent {
    fn start(maps: &MemoryMaps) -> Self {
        let sync = ServiceSync::new(maps.tables(), "here").unwrap();
        Self {
            maps: maps.clone(),
            sync: sync.with_grace(Duration::from_millis(2)),
        }
    }

    fn settle(&mut self, shapes: &[Option<Shape>]) {
        settle(&mut self.sync, &snapshot(shapes), &all_dirty(shapes.len()));
    }

    fn epoch(&self) -> u32 {
        self.maps.epoch.get(&0).unwrap().unwrap_or(0)
    }

    /// A client of each Service port, as programs note it.
    fn clients_come(&self) {
        for service in self.services() {
            let key = AffinityKey {
                client: [service; 4],
                service,
            };
            let value = Affinity {
                backend: 1,
                last_used: 1,
            };
            let mut table = self.maps.affinity.clone();
            while table.set(&key, &value).is_err() {}
        }
    }

    fn services(&self) -> Vec<u32> {
        let frontends = self.sync.image().frontends();
        let mut services: Vec<u32> = frontends.map(|(_, f)| f.service).collect();
        services.sort_unstable();
        services.dedup();
        services
    }

    /// Whose clients are known.
    fn affine(&self) -> Vec<u32> {
        let entries = self.maps.affinity.entries().unwrap().into_iter();
        let mut services: Vec<u32> = entries.map(|(key, _)| key.service).collect();
        services.sort_unstable();
        services
    }
}

#[test]
fn affinity_ends_with_the_service_and_with_the_wish_for_it() {
    let maps = MemoryMaps::new(64, 5, 10);
    let mut agent = Agent::start(&maps);
    let affine = Some(shape(false, true));
    agent.settle(&[affine.clone(), affine.clone(), Some(shape(true, true))]);
    let [a4, a6, b4, b6, c4, c6] = agent.services().try_into().unwrap();
    agent.clients_come();
    // One goes, one has none any more, one changes in another way.
    let mut other = shape(true, true);
    other.endpoints.pop();
    other.node_port = false;
    agent.settle(&[None, Some(shape(false, false)), Some(other)]);
    assert_eq!(agent.services(), [b4, b6, c4, c6]);
    assert_eq!(agent.affine(), [c4, c6], "{a4} {a6} are gone");
}

#[test]
fn affinity_of_what_went_while_no_agent_was_there_ends_too() {
    let maps = MemoryMaps::new(64, 6, 10);
    let mut former = Agent::start(&maps);
    let affine = Some(shape(false, true));
    former.settle(&[affine.clone(), affine.clone()]);
    former.clients_come();
    let [_, _, b4, b6] = former.services().try_into().unwrap();
    // Of a Service that is gone already.
    let stray = AffinityKey {
        client: [1; 4],
        service: 999,
    };
    let (_, value) = maps.affinity.entries().unwrap()[0];
    let mut table = maps.affinity.clone();
    while table.set(&stray, &value).is_err() {}
    let mut agent = Agent::start(&maps);
    agent.settle(&[None, affine]);
    assert_eq!(agent.affine(), [b4, b6]);
}

#[test]
fn flows_of_datagrams_are_told_of_what_concerns_them_and_of_nothing_else() {
    let maps = MemoryMaps::new(64, 0, 0);
    let mut agent = Agent::start(&maps);
    let mut last = agent.epoch();
    let (tcp, udp) = (Some(shape(false, true)), Some(shape(true, false)));
    let with = |change: fn(&mut Shape)| {
        let mut shape = shape(true, false);
        change(&mut shape);
        Some(shape)
    };
    for (what, shapes, told) in [
        // Somebody may have ended in the middle.
        ("a start", [None, None], true),
        ("nothing", [None, None], false),
        ("a Service of connections", [tcp.clone(), None], false),
        ("a Service of datagrams", [tcp.clone(), udp.clone()], true),
        ("nothing", [tcp.clone(), udp.clone()], false),
        (
            "less of connections",
            [Some(shape(false, false)), udp],
            false,
        ),
        (
            "another backend in place of one",
            [tcp.clone(), with(|s| s.endpoints[0].0 = 9)],
            true,
        ),
        (
            "one that terminates",
            [tcp.clone(), with(|s| s.endpoints[0] = (9, true, true))],
            true,
        ),
        ("no Service of datagrams", [tcp, None], true),
    ] {
        agent.settle(&shapes);
        let now = agent.epoch();
        assert_eq!(now != last, told, "{what}: {last} -> {now}");
        last = now;
    }
}
