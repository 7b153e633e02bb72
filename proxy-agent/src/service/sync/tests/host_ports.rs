//! `hostPort`s beside Services: the same maps, the same pipeline.

use proxy_common::frontends::{FLAG_HOST_PORT, FLAG_MEMBERS, FLAG_NODE_PORT};

use super::*;
use crate::{
    datapath::table::Table as _,
    model::{EventReason, HostPort},
    service::{
        MemoryMaps,
        render::services::{ServiceRow, rows},
    },
    subject::growth::InVain,
};

const PORT: u16 = 30_000;

fn start(maps: &MemoryMaps) -> ServiceSync {
    let sync = ServiceSync::new(maps.tables(), "here").unwrap();
    sync.with_grace(Duration::ZERO)
}

fn in_force(sync: &ServiceSync, pod: &str) -> Result<(), String> {
    let mut missing = sync.host_ports_not_in_force();
    missing.remove(pod).map_or(Ok(()), Err)
}

fn port(at: &str, to: &str) -> HostPort {
    HostPort {
        address: address(at),
        port: PORT,
        protocol: Protocol::Udp,
        to: to.parse().unwrap(),
    }
}

fn wanted(pods: &[(&str, &str, &str)]) -> HostPorts {
    let pods = pods.iter();
    HostPorts::of(pods.map(|(pod, at, to)| ((*pod).to_owned(), vec![port(at, to)])))
}

fn node_port() -> Snapshot {
    let shape = Shape {
        udp: true,
        ..Shape::node_port(vec![(1, true, false)])
    };
    snapshot(&[Some(shape)])
}

/// Frontends on all addresses, and who serves them.
fn on_node(sync: &ServiceSync) -> Vec<(String, Vec<String>)> {
    let rows = rows(sync.tables(), &sync.names()).unwrap();
    let rows = rows
        .into_iter()
        .filter(|row| row.frontend.starts_with("node"));
    rows.map(|row: ServiceRow| (row.service, row.internal.backends))
        .collect()
}

fn is_empty(maps: &MemoryMaps) -> bool {
    maps.counts().unwrap().iter().all(|(_, n)| *n == 0)
}

#[test]
fn they_come_stay_over_a_restart_and_go() {
    let maps = MemoryMaps::new(64, 7, 10);
    let mut sync = start(&maps);
    let all = wanted(&[
        ("ns/a", "0.0.0.0", "10.1.0.2:53"),
        ("ns/a", "::", "[fd00::2]:53"),
        ("ns/b", "192.0.2.1", "10.1.0.3:53"),
    ]);
    assert!(sync.set_host_ports(all.clone()));
    assert!(!sync.set_host_ports(all.clone()), "nothing new");
    assert!(in_force(&sync, "ns/a").is_err(), "not written yet");
    let lists = snapshot(&[]);
    settle(&mut sync, &lists, &Dirty::default());
    assert_eq!(in_force(&sync, "ns/a"), Ok(()));
    let (key, frontend) = maps.frontends4.entries().unwrap()[0];
    assert_eq!((key.address, u16::from_be(key.port)), (0, PORT));
    assert_eq!(frontend.flags, FLAG_HOST_PORT | FLAG_MEMBERS);
    assert_eq!(frontend.internal, frontend.external);
    assert_eq!((sync.len(), sync.is_empty()), (0, true), "no Services");

    let ids = |maps: &MemoryMaps| {
        (
            maps.frontends4.entries().unwrap(),
            maps.backends4.entries().unwrap(),
        )
    };
    let before = ids(&maps);
    let mut sync = start(&maps);
    sync.set_host_ports(all);
    settle(&mut sync, &lists, &Dirty::default());
    assert_eq!(ids(&maps), before);
    assert_eq!(verify(&mut sync, &lists).drift, 0);

    sync.set_host_ports(HostPorts::default());
    settle(&mut sync, &lists, &Dirty::default());
    assert!(is_empty(&maps));
}

#[test]
fn what_went_while_the_agent_was_down_goes_after_its_return() {
    let maps = MemoryMaps::new(64, 0, 0);
    let mut sync = start(&maps);
    sync.set_host_ports(wanted(&[("ns/a", "0.0.0.0", "10.1.0.2:53")]));
    settle(&mut sync, &snapshot(&[]), &Dirty::default());
    let mut sync = start(&maps);
    settle(&mut sync, &snapshot(&[]), &Dirty::default());
    assert!(is_empty(&maps));
}

#[test]
fn a_service_takes_the_port_and_gives_it_back() {
    for restart in [false, true] {
        let maps = MemoryMaps::new(64, 0, 0);
        let mut sync = start(&maps);
        let all = wanted(&[("ns/a", "0.0.0.0", "10.1.0.2:53")]);
        sync.set_host_ports(all.clone());
        let nothing = snapshot(&[]);
        settle(&mut sync, &nothing, &Dirty::default());
        let of_pod = ("pod/ns/a:30000".to_owned(), vec!["10.1.0.2:53*".to_owned()]);
        let of_service = ("ns/service0".to_owned(), vec!["10.0.0.1:8080*".to_owned()]);
        assert_eq!(on_node(&sync), std::slice::from_ref(&of_pod));
        if restart {
            // Both want what the maps hold: the pod's ids must not become the Service's.
            sync = start(&maps);
            sync.set_host_ports(all);
        }
        let report = sync.sync(&node_port(), &all_dirty(1));
        assert_eq!(on_node(&sync), [of_service]);
        let error = &report.failed[&Owner::Pod("ns/a".into())];
        assert_eq!(error, "node:30000/UDP belongs to ns/service0 already");
        assert_eq!(in_force(&sync, "ns/a"), Ok(()), "the pod may start");
        let flags: Vec<u32> = maps
            .frontends4
            .entries()
            .unwrap()
            .iter()
            .map(|(_, f)| f.flags)
            .collect();
        assert!(flags.contains(&(FLAG_NODE_PORT | FLAG_MEMBERS)));
        let report = settle(&mut sync, &nothing, &all_dirty(1));
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        assert_eq!(on_node(&sync), [of_pod]);
        sync.set_host_ports(HostPorts::default());
        settle(&mut sync, &nothing, &Dirty::default());
        assert!(is_empty(&maps));
    }
}

#[test]
fn while_a_pod_is_replaced_the_new_one_serves_and_the_old_one_removes_nothing_of_it() {
    let maps = MemoryMaps::new(64, 0, 0);
    let mut sync = start(&maps);
    let lists = snapshot(&[]);
    let old = ("ns/web-b", "0.0.0.0", "10.1.0.2:53");
    // Both orders of names.
    for new in ["ns/web-a", "ns/web-c"] {
        let new = (new, "0.0.0.0", "10.1.0.3:53");
        let states: [(&[_], Option<&str>); 5] = [
            (&[old], Some("10.1.0.2:53*")),
            (&[old, new], Some("10.1.0.3:53*")),
            (&[old], Some("10.1.0.2:53*")),
            (&[new], Some("10.1.0.3:53*")),
            (&[], None),
        ];
        for (pods, serves) in states {
            sync.set_host_ports(wanted(pods));
            let report = settle(&mut sync, &lists, &Dirty::default());
            assert!(report.failed.is_empty());
            let found = on_node(&sync)
                .into_iter()
                .flat_map(|(_, backends)| backends);
            assert_eq!(found.collect::<Vec<_>>(), Vec::from_iter(serves));
        }
    }
    assert!(is_empty(&maps));
}

#[test]
fn a_full_map_is_told() {
    let maps = MemoryMaps::new(1, 0, 0);
    let mut sync = start(&maps);
    let all = wanted(&[
        ("ns/a", "0.0.0.0", "10.1.0.2:53"),
        ("ns/b", "192.0.2.1", "10.1.0.3:53"),
    ]);
    sync.set_host_ports(all);
    sync.sync(&snapshot(&[]), &Dirty::default());
    assert_eq!(in_force(&sync, "ns/a"), Ok(()));
    let error = in_force(&sync, "ns/b").unwrap_err();
    assert!(error.contains("FRONTENDS4 has no room"), "{error}");
}

/// Who is told that another one has what.
fn told(sync: &ServiceSync) -> Vec<(String, EventReason, String)> {
    let notices = sync.notices(&InVain::new()).into_iter();
    let told = notices.map(|notice| (notice.object.to_string(), notice.reason, notice.note));
    told.collect()
}

#[test]
fn who_has_a_port_but_for_one_address_is_told_who_has_it_there() {
    let maps = MemoryMaps::new(64, 0, 0);
    let mut sync = start(&maps);
    sync.set_own_addresses(&OWN.map(|own| own.parse().unwrap()));
    let on = |address: &str, port| HostPort {
        port,
        ..self::port(address, "10.1.0.2:53")
    };
    let wanted = |ports: &[HostPort]| HostPorts::of([("ns/a".to_owned(), ports.to_vec())]);
    let service = |external_ip| {
        let shape = Shape {
            udp: true,
            external_ip,
            ..Shape::node_port(vec![(1, true, false)])
        };
        snapshot(&[Some(shape)])
    };
    // The Service asks for 192.0.2.1:80, which is the node's, and for port 30000 of all its addresses.
    let (wide, narrow) = (on("0.0.0.0", 80), on("192.0.2.1", PORT));
    let of_pod = (
        "ns/a".to_owned(),
        EventReason::AddressConflict,
        "192.0.2.1:80/UDP belongs to ns/service0 already".to_owned(),
    );
    let of_service = (
        "ns/service0".to_owned(),
        EventReason::NodePortTaken,
        "192.0.2.1:30000/UDP belongs to pod/ns/a already".to_owned(),
    );
    sync.set_host_ports(wanted(&[wide, narrow]));
    settle(&mut sync, &snapshot(&[]), &Dirty::default());
    assert_eq!(told(&sync), []);
    for again in [false, true] {
        if again {
            sync = start(&maps);
            sync.set_own_addresses(&OWN.map(|own| own.parse().unwrap()));
            sync.set_host_ports(wanted(&[wide, narrow]));
        }
        settle(&mut sync, &service(true), &all_dirty(1));
        assert_eq!(told(&sync), [of_service.clone(), of_pod.clone()]);
        assert_eq!(sync.failures().count(), 0, "all of both is programmed");
    }
    settle(&mut sync, &service(false), &all_dirty(1));
    assert_eq!(told(&sync), [of_service]);
    sync.set_host_ports(wanted(&[wide]));
    settle(&mut sync, &service(true), &all_dirty(1));
    assert_eq!(told(&sync), [of_pod]);
    // It is the node's no more.
    sync.set_own_addresses(&[address(OWN[0])]);
    assert_eq!(told(&sync), []);
}

#[test]
fn who_lacks_only_what_another_one_has_is_not_missing() {
    let maps = MemoryMaps::new(64, 0, 0);
    let mut sync = start(&maps);
    let shape = Some(Shape {
        external_ip: true,
        ..Shape::node_port(vec![(1, true, false)])
    });
    let mut lists = snapshot(&[shape.clone(), shape]);
    let ports = lists.services[&name(0)].ports.clone();
    let second = lists.services.get_mut(&name(1)).unwrap();
    Arc::make_mut(second).ports = ports;
    sync.sync(&lists, &all_dirty(2));
    assert_eq!((sync.failures().count(), sync.missing()), (1, 0));
    // There is room for nobody's frontends.
    let maps = MemoryMaps::new(1, 0, 0);
    let mut sync = start(&maps);
    sync.sync(&lists, &all_dirty(2));
    assert_eq!((sync.failures().count(), sync.missing()), (2, 2));
}
