//! How much time and memory 10 000 Services with 10 endpoints each take. Prints; asserts only the outcome.

use std::fmt::Debug;

use super::*;
use crate::{
    datapath::table::Table,
    observe::{Converted, Object, Store, Update, intern::Interner},
};

/// A map that takes everything and keeps nothing: the kernel's memory is not the agent's.
struct Elsewhere(&'static str);

impl<K: Copy + Ord + Debug, V: Copy + PartialEq + Debug> Table<K, V> for Elsewhere {
    fn name(&self) -> &str {
        self.0
    }

    fn capacity(&self) -> u32 {
        u32::MAX
    }

    fn get(&self, _: &K) -> Result<Option<V>, TableError> {
        Ok(None)
    }

    fn set(&mut self, _: &K, _: &V) -> Result<(), TableError> {
        Ok(())
    }

    fn remove(&mut self, _: &K) -> Result<(), TableError> {
        Ok(())
    }

    fn entries(&self) -> Result<Vec<(K, V)>, TableError> {
        Ok(Vec::new())
    }
}

fn tables() -> ServiceTables {
    ServiceTables {
        frontends4: Box::new(Elsewhere("FRONTENDS4")),
        frontends6: Box::new(Elsewhere("FRONTENDS6")),
        backends4: Box::new(Elsewhere("BACKENDS4")),
        backends6: Box::new(Elsewhere("BACKENDS6")),
        slots: Box::new(Elsewhere("BACKEND_SLOTS")),
        members: Box::new(Elsewhere("BACKEND_MEMBERS")),
    }
}

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = status.lines().find(|l| l.starts_with("Rss:")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

fn ip(base: [u8; 2], number: usize) -> IpAddr {
    IpAddr::from([base[0], base[1], (number >> 8) as u8, number as u8])
}

fn objects(interner: &Interner) -> (Vec<Converted>, Vec<Converted>) {
    let converted = |kind, name, object| Converted {
        kind,
        name,
        object: Some(object),
        triggered: None,
        problems: Vec::new(),
    };
    let mut lists = (Vec::new(), Vec::new());
    for number in 0..SERVICES {
        let service_name = interner.name("bench", &format!("service-{number}"));
        let service = Service {
            name: service_name.clone(),
            cluster_ips: ClusterIps::from_iter([ip([10, 96], number)]),
            ports: interner.service_ports(&[ServicePort {
                name: interner.text("http"),
                protocol: Protocol::Tcp,
                port: 80,
                node_port: 0,
            }]),
            ..Service::default()
        };
        lists.0.push(converted(
            Kind::Service,
            service_name.clone(),
            Object::Service(service),
        ));
        let endpoints = (0..ENDPOINTS).map(|e| {
            let placement = Placement {
                node: Some(interner.text(&format!("node-{}", e % 3))),
                ..Placement::default()
            };
            let number = number * ENDPOINTS + e;
            let base = [10, 128 + (number >> 16) as u8];
            (
                ip(base, number),
                Conditions::default(),
                interner.placement(placement),
            )
        });
        let slice_name = interner.name("bench", &format!("service-{number}-abcde"));
        let slice = EndpointSlice {
            name: slice_name.clone(),
            service: service_name,
            ipv6: false,
            ports: interner.endpoint_ports(&[EndpointPort {
                name: interner.text("http"),
                protocol: Protocol::Tcp,
                port: 8080,
            }]),
            endpoints: Endpoints::new(endpoints),
        };
        lists.1.push(converted(
            Kind::EndpointSlice,
            slice_name,
            Object::EndpointSlice(slice),
        ));
    }
    lists
}

#[test]
fn ten_thousand_services() {
    let interner = Interner::default();
    let start = resident();
    let store = Store::new();
    let (services, slices) = objects(&interner);
    store.update([
        Update::Replace(Kind::Service, services),
        Update::Replace(Kind::EndpointSlice, slices),
        Update::Replace(Kind::Node, Vec::new()),
    ]);
    let stored = resident();
    let mut changes = crate::observe::Changes::new(Arc::clone(&store), Duration::ZERO);
    let mut sync = ServiceSync::new(tables(), "here").unwrap();
    let dirty = changes.take().dirty;
    let before = Instant::now();
    let report = sync.sync(&store.read(), &dirty);
    let full = before.elapsed();
    assert_eq!(report.synced, SERVICES);
    assert_eq!(sync.image().pool4.len(), SERVICES * ENDPOINTS);
    let synced = resident();
    let before = Instant::now();
    let mut dirty = Dirty::default();
    dirty.service(&interner.name("bench", "service-77"), Stamp::now());
    let one = sync.sync(&store.read(), &dirty);
    assert_eq!(one.synced, 1);
    println!(
        "full sync {full:?} with {} writes; one Service {:?}; memory per Service: store {} B, with \
         sync {} B",
        report.writes,
        before.elapsed(),
        (stored - start) / SERVICES as u64,
        (synced - start) / SERVICES as u64,
    );
}
