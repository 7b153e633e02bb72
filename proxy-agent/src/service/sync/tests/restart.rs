//! A restart goes on from the maps.

use proxy_common::frontends::FrontendKey4;

use super::*;
use crate::{datapath::table::Table as _, service::MemoryMaps};

pub(super) fn plain(hosts: &[u8]) -> Shape {
    Shape {
        udp: true,
        node_port: true,
        external_local: true,
        internal_local: false,
        affinity: false,
        external_ip: false,
        sources: [1, 4].into(),
        endpoints: hosts.iter().map(|h| (*h, h % 2 == 0, false)).collect(),
    }
}

fn cluster<const N: usize>(shapes: [Shape; N]) -> Snapshot {
    snapshot(&shapes.map(Some))
}

fn start(maps: &MemoryMaps) -> ServiceSync {
    let sync = ServiceSync::new(maps.tables(), "here").unwrap();
    sync.with_grace(Duration::ZERO)
}

/// Everything in the maps.
fn contents(maps: &MemoryMaps) -> String {
    format!(
        "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
        maps.frontends4.entries().unwrap(),
        maps.frontends6.entries().unwrap(),
        maps.backends4.entries().unwrap(),
        maps.backends6.entries().unwrap(),
        maps.slots.entries().unwrap(),
        maps.members.entries().unwrap(),
        maps.sources4.entries().unwrap(),
        maps.sources6.entries().unwrap(),
    )
}

fn writes(maps: &MemoryMaps) -> u64 {
    maps.frontends4.writes()
        + maps.backends4.writes()
        + maps.slots.writes()
        + maps.members.writes()
        + maps.sources4.writes()
}

#[test]
fn a_restart_with_nothing_changed_writes_nothing() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let snapshot = cluster([plain(&[1, 2, 3]), plain(&[2, 3, 4]), plain(&[])]);
    settle(&mut start(&maps), &snapshot, &all_dirty(3));
    let (before, count) = (contents(&maps), writes(&maps));
    let mut sync = start(&maps);
    let report = settle(&mut sync, &snapshot, &Dirty::default());
    assert_eq!(report.failed.len(), 0);
    assert_eq!(contents(&maps), before);
    assert_eq!(writes(&maps), count);
    assert_eq!(verify(&mut sync, &snapshot).drift, 0);
    assert_eq!(writes(&maps), count);
}

#[test]
fn a_restart_keeps_the_ids_of_what_stays() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let shapes = [plain(&[1, 2, 3]), plain(&[4, 5]), plain(&[6])];
    settle(&mut start(&maps), &cluster(shapes), &all_dirty(3));
    let backends = maps.backends4.entries().unwrap();
    let frontends = maps.frontends4.entries().unwrap();
    // While the agent was down, one endpoint went, one came, and a Service went.
    let shapes = [plain(&[1, 3, 9]), plain(&[4, 5])];
    settle(&mut start(&maps), &cluster(shapes), &Dirty::default());
    for (id, backend) in maps.backends4.entries().unwrap() {
        let before = backends.iter().find(|(_, b)| *b == backend);
        assert!(before.is_none_or(|(known, _)| *known == id), "{backend:?}");
    }
    let kept = |key: &FrontendKey4| maps.frontends4.get(key).unwrap();
    let survivors = frontends.iter().filter_map(|(k, f)| Some((f, kept(k)?)));
    let mut count = 0;
    for (before, now) in survivors {
        count += 1;
        assert_eq!(
            (before.service, before.internal.id, before.external.id),
            (now.service, now.internal.id, now.external.id)
        );
    }
    assert_eq!(
        count, 6,
        "cluster IP, NodePort and load balancer of two Services"
    );
    assert_eq!(maps.frontends4.entries().unwrap().len(), 6);
}

#[test]
fn nothing_is_written_before_the_lists_are_complete() {
    let maps = MemoryMaps::new(4096, 0, 0);
    settle(&mut start(&maps), &cluster([plain(&[1])]), &all_dirty(1));
    let before = contents(&maps);
    let mut sync = start(&maps);
    let mut incomplete = cluster([plain(&[2])]);
    incomplete.complete.0.remove(&Kind::EndpointSlice);
    let report = sync.sync(&incomplete, &all_dirty(1));
    assert_eq!(report.waiting, [Kind::EndpointSlice]);
    assert_eq!(contents(&maps), before);
    // Nodes that are never listed are not waited for.
    let mut refused = cluster([plain(&[1])]);
    refused.complete.0.remove(&Kind::Node);
    let mut other = start(&maps);
    assert_eq!(other.sync(&refused, &all_dirty(1)).waiting, [Kind::Node]);
    refused.refused.insert(Kind::Node);
    settle(&mut other, &refused, &all_dirty(1));
    assert_eq!(contents(&maps), before);
    // A manifest that was never readable may justify what nothing else does.
    let mut partial = snapshot(&[]);
    partial.partial = true;
    settle(&mut sync, &partial, &Dirty::default());
    assert_eq!(contents(&maps), before);
    settle(&mut sync, &snapshot(&[]), &Dirty::default());
    assert!(maps.counts().unwrap().iter().all(|(_, n)| *n == 0));
}

#[test]
fn a_service_that_does_not_fit_is_refused_whole() {
    let maps = MemoryMaps::new(8, 0, 0);
    let mut sync = start(&maps);
    settle(&mut sync, &cluster([plain(&[1, 2])]), &all_dirty(1));
    let before = contents(&maps);
    let too_much = cluster([plain(&[1, 2, 3, 4, 5, 6, 7, 8, 9])]);
    let report = sync.sync(&too_much, &all_dirty(1));
    let error = &report.failed[&Owner::Service(name(0))];
    assert!(error.contains("has no room"), "{error}");
    assert_eq!(contents(&maps), before);
    let report = settle(&mut sync, &cluster([plain(&[1, 3])]), &all_dirty(1));
    assert!(report.failed.is_empty());
}

#[test]
fn verify_repairs_what_others_changed() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let mut sync = start(&maps);
    let snapshot = cluster([plain(&[1, 2, 3]), plain(&[4])]);
    settle(&mut sync, &snapshot, &all_dirty(2));
    let before = contents(&maps);
    let (mut slots, mut backends) = (maps.slots.clone(), maps.backends4.clone());
    let slot = slots.entries().unwrap()[1].0;
    slots.remove(&slot).unwrap();
    let (stranger, backend) = backends.entries().unwrap()[0];
    backends.set(&(stranger + 1000), &backend).unwrap();
    let (key, mut frontend) = maps.frontends4.entries().unwrap()[0];
    frontend.internal.count = 1;
    maps.frontends4.clone().set(&key, &frontend).unwrap();
    let report = verify(&mut sync, &snapshot);
    assert_eq!(report.drift, 3);
    settle(&mut sync, &snapshot, &Dirty::default());
    assert_eq!(contents(&maps), before);
}

#[test]
fn two_services_cannot_have_one_frontend() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let mut sync = start(&maps);
    let mut both = cluster([plain(&[1]), plain(&[2])]);
    let mut thief = (*both.services[&name(1)]).clone();
    thief.cluster_ips = both.services[&name(0)].cluster_ips;
    let mut ports = thief.ports.to_vec();
    ports[0].port = 80;
    thief.ports = ports.into();
    both.services.insert(name(1), Arc::new(thief));
    let report = sync.sync(&both, &all_dirty(2));
    let error = &report.failed[&Owner::Service(name(1))];
    assert_eq!(error, "10.96.0.1:80/UDP belongs to ns/service0 already");
    both.services.remove(&name(0));
    let mut dirty = Dirty::default();
    dirty.service(&name(0), Stamp::now());
    let report = settle(&mut sync, &both, &dirty);
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!(
        sync.names().values().collect::<Vec<_>>(),
        ["ns/service1", "ns/service1"]
    );
}

/// A set that another Service's backends were written to would lead this one's clients there.
#[test]
fn what_moved_to_a_new_service_while_the_agent_was_down_takes_no_ids_along() {
    let maps = MemoryMaps::new(4096, 0, 0);
    let mut before = cluster([plain(&[1]), plain(&[2])]);
    before.services.remove(&name(0));
    settle(&mut start(&maps), &before, &all_dirty(2));
    let ours: Vec<_> = maps.frontends4.entries().unwrap();
    let ours = ours.into_iter().filter(|(key, _)| key.address != 0);
    let ours: Vec<_> = ours.collect();
    let with_node_port = |number: usize, node_port: u16| {
        let service = service(number, &plain(&[1]));
        let mut ports = service.ports.to_vec();
        ports[0].node_port = node_port;
        Arc::new(Service {
            ports: ports.into(),
            ..service
        })
    };
    let mut after = cluster([plain(&[1]), plain(&[2])]);
    after.services.insert(name(0), with_node_port(0, 30_001));
    after.services.insert(name(1), with_node_port(1, 0));
    let report = settle(&mut start(&maps), &after, &Dirty::default());
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    for (key, frontend) in ours {
        let now = maps.frontends4.get(&key).unwrap();
        assert_eq!(now.map(|f| f.internal.id), Some(frontend.internal.id));
    }
}

#[test]
fn ids_that_flows_name_are_not_given_to_others() {
    let maps = MemoryMaps::new(4096, 0, 0);
    settle(&mut start(&maps), &cluster([plain(&[1, 2])]), &all_dirty(1));
    let known: Vec<u32> = maps
        .backends4
        .entries()
        .unwrap()
        .iter()
        .map(|(id, _)| *id)
        .collect();
    let mut sync = start(&maps);
    sync.stay_above(500, 700);
    settle(
        &mut sync,
        &cluster([plain(&[1, 2, 3]), plain(&[])]),
        &all_dirty(2),
    );
    let backends = maps.backends4.entries().unwrap();
    let new: Vec<u32> = backends
        .iter()
        .map(|(id, _)| *id)
        .filter(|id| !known.contains(id))
        .collect();
    assert!(!new.is_empty() && new.iter().all(|id| *id > 700), "{new:?}");
    assert_eq!(
        backends.len(),
        known.len() + new.len(),
        "the others keep theirs"
    );
    let frontends = maps.frontends4.entries().unwrap();
    let mut services: Vec<u32> = frontends.iter().map(|(_, f)| f.service).collect();
    services.sort_unstable();
    assert!(
        services[0] < 500 && services.last().is_some_and(|id| *id > 500),
        "{services:?}"
    );
}
