//! No packet sees a gap: after every single write, failed ones in between, each frontend's slots resolve to
//! backends of the old or the new set.

mod after;
mod api_servers;
mod checked;
mod crowd;
mod drift;
mod host_ports;
mod maglev;
mod mark;
mod planned;
mod restart;
mod room;
mod swap;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use ipnetwork::IpNetwork;
use proptest::{prelude::*, test_runner::TestCaseError};

use self::checked::World;
use super::*;
use crate::model::{
    ClusterIps, Conditions, Dirty, EndpointPort, EndpointSlice, EndpointState, Endpoints, External,
    Few, ObjectName, Placement, Protocol, Service, ServicePort, SharedList,
};
use crate::service::maglev::Builder;
use crate::{datapath::Faults, service::MemoryMaps};

/// A Service as the property varies it.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one knob of the property"
)]
struct Shape {
    udp: bool,
    node_port: bool,
    external_local: bool,
    internal_local: bool,
    affinity: bool,
    external_ip: bool,
    /// Numbers of ranges that its load balancer's addresses serve; none for all.
    sources: BTreeSet<u8>,
    /// Hosts, whether they run here, and whether they serve while they terminate.
    endpoints: Vec<(u8, bool, bool)>,
}

impl Shape {
    /// A `NodePort` of TCP with these endpoints, and nothing else.
    fn node_port(endpoints: Vec<(u8, bool, bool)>) -> Self {
        Self {
            udp: false,
            node_port: true,
            external_local: false,
            internal_local: false,
            affinity: false,
            external_ip: false,
            sources: BTreeSet::new(),
            endpoints,
        }
    }
}

fn shape() -> impl Strategy<Value = Option<Shape>> {
    let endpoints = prop::collection::btree_map(1..12_u8, any::<(bool, bool)>(), 0..8);
    let endpoints = endpoints.prop_map(|hosts| {
        let hosts = hosts.into_iter();
        hosts
            .map(|(host, (local, closing))| (host, local, closing))
            .collect()
    });
    let flags = prop::array::uniform6(any::<bool>());
    let sources = prop::collection::btree_set(0..6_u8, 0..4);
    prop::option::weighted(
        0.85,
        (flags, sources, endpoints).prop_map(
            |(
                [
                    udp,
                    node_port,
                    external_local,
                    internal_local,
                    affinity,
                    external_ip,
                ],
                sources,
                endpoints,
            )| {
                Shape {
                    udp,
                    node_port,
                    external_local,
                    internal_local,
                    affinity,
                    external_ip,
                    sources,
                    endpoints,
                }
            },
        ),
    )
}

/// Addresses of this node: one of them may serve, one may be an external address.
const OWN: [&str; 2] = ["10.0.0.3", "192.0.2.1"];

pub(super) fn name(number: usize) -> ObjectName {
    ObjectName::new("ns", format!("service{number}"))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The load balancer's address of a Service, which it alone has.
fn balancer(number: usize, ipv6: bool) -> IpAddr {
    address(&if ipv6 {
        format!("2001:db8::{}", number + 1)
    } else {
        format!("198.51.100.{}", number + 1)
    })
}

/// Some of one family, some of both.
fn ranges(numbers: &BTreeSet<u8>) -> impl Iterator<Item = IpNetwork> {
    let v4 = numbers.iter().map(|n| format!("203.0.{n}.0/24"));
    let v6 = numbers
        .iter()
        .filter(|n| **n > 1)
        .map(|n| format!("2001:db8:{n}::/48"));
    v4.chain(v6).map(|text| text.parse().unwrap())
}

fn service(number: usize, shape: &Shape) -> Service {
    Service {
        name: name(number),
        cluster_ips: ClusterIps::from_iter([
            address(&format!("10.96.0.{}", number + 1)),
            address(&format!("fd00:96::{}", number + 1)),
        ]),
        // Two Services never want the same address, but one may take over another's.
        external: External {
            ips: shape
                .external_ip
                .then(|| address("192.0.2.1"))
                .into_iter()
                .collect(),
            load_balancer_ips: [balancer(number, false), balancer(number, true)].into(),
            load_balancer_source_ranges: ranges(&shape.sources).collect(),
            load_balancer: None,
        }
        .boxed(),
        ports: vec![ServicePort {
            name: "".into(),
            protocol: if shape.udp {
                Protocol::Udp
            } else {
                Protocol::Tcp
            },
            port: 80 + number as u16,
            node_port: if shape.node_port {
                30_000 + number as u16
            } else {
                0
            },
        }]
        .into(),
        internal_local: shape.internal_local,
        external_local: shape.external_local,
        affinity_seconds: if shape.affinity { 60 } else { 0 },
        ..Service::default()
    }
}

fn slices(number: usize, shape: &Shape) -> Few<Arc<EndpointSlice>> {
    let slice = |ipv6: bool| {
        let endpoints = shape.endpoints.iter().map(|(host, local, closing)| {
            let text = if ipv6 {
                format!("fd00::{host}")
            } else {
                format!("10.0.0.{host}")
            };
            let placement = Placement {
                here: *local,
                ..Placement::default()
            };
            let conditions = Conditions {
                ready: !closing,
                serving: true,
                terminating: *closing,
            };
            let state = EndpointState {
                conditions,
                placement,
            };
            (address(&text), state)
        });
        Arc::new(EndpointSlice {
            name: ObjectName::new("ns", format!("service{number}-{ipv6}")),
            service: name(number),
            ipv6,
            ports: vec![EndpointPort {
                name: "".into(),
                protocol: if shape.udp {
                    Protocol::Udp
                } else {
                    Protocol::Tcp
                },
                port: 8080,
            }]
            .into(),
            endpoints: Endpoints::new(endpoints, SharedList::from),
        })
    };
    vec![slice(false), slice(true)].into()
}

fn snapshot(shapes: &[Option<Shape>]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.complete.0.extend(Kind::ALL);
    for (number, shape) in shapes.iter().enumerate() {
        if let Some(shape) = shape {
            let name = name(number);
            snapshot
                .services
                .insert(name.clone(), Arc::new(service(number, shape)));
            snapshot.slices.insert(name, slices(number, shape));
        }
    }
    snapshot
}

pub(super) fn all_dirty(count: usize) -> Dirty {
    let mut dirty = Dirty::default();
    for number in 0..count {
        dirty.service(&name(number), Stamp::now());
    }
    dirty
}

/// Syncs until nothing is left to do.
/// A full comparison, in small pieces.
pub(super) fn verify(sync: &mut ServiceSync, snapshot: &Snapshot) -> SyncReport {
    let mut report = SyncReport::default();
    while !sync.verify(|| snapshot, 2, &mut report).unwrap() {}
    report
}

pub(super) fn settle(sync: &mut ServiceSync, snapshot: &Snapshot, dirty: &Dirty) -> SyncReport {
    let mut report = sync.sync(snapshot, dirty);
    for _ in 0..10_000 {
        let Some(after) = report.again_after else {
            return report;
        };
        std::thread::sleep(after);
        report = sync.sync(snapshot, &Dirty::default());
    }
    panic!("never settles: {report:?}");
}

/// Goes through states, while a share of the writes fails, and then to nothing.
fn without_gaps(
    states: &[Vec<Option<Shape>>],
    count: usize,
    seed: u64,
) -> Result<(), TestCaseError> {
    let world = World::new(seed, 10);
    let sync = ServiceSync::new(world.tables(), "here")
        .unwrap()
        .with_grace(Duration::ZERO);
    let mut sync = sync.with_maglev(251, Builder::default());
    sync.set_own_addresses(&OWN.map(|own| own.parse().unwrap()));
    for shapes in states {
        let mut shapes = shapes.clone();
        // One owner of the external address.
        let mut taken = false;
        for shape in shapes.iter_mut().flatten() {
            shape.external_ip &= !taken;
            taken |= shape.external_ip;
        }
        let snapshot = snapshot(&shapes);
        world.expect(&snapshot);
        let report = settle(&mut sync, &snapshot, &all_dirty(count));
        prop_assert!(report.failed.is_empty());
        world.settled(&snapshot);
        prop_assert_eq!(verify(&mut sync, &snapshot).drift, 0);
    }
    let nothing = snapshot(&[]);
    world.expect(&nothing);
    settle(&mut sync, &nothing, &all_dirty(count));
    world.settled(&nothing);
    for (map, entries) in world.maps.counts().unwrap() {
        prop_assert_eq!(entries, 0, "{} is not empty", map);
    }
    Ok(())
}

/// Has so many of a hundred writes fail, in each map others.
fn fail_writes(maps: &MemoryMaps, seed: u64, percent: u64) {
    let faults = |map| Faults::new(seed.wrapping_mul(16) + map, percent);
    maps.frontends4.set_faults(faults(0));
    maps.frontends6.set_faults(faults(1));
    maps.backends4.set_faults(faults(2));
    maps.backends6.set_faults(faults(3));
    maps.slots.set_faults(faults(4));
    maps.members.set_faults(faults(5));
    maps.sources4.set_faults(faults(6));
    maps.sources6.set_faults(faults(7));
    maps.maglev.set_faults(faults(8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_prefix_of_the_writes_has_a_gap(
        states in prop::collection::vec(prop::collection::vec(shape(), 3), 1..6),
        seed in any::<u64>(),
    ) {
        without_gaps(&states, 3, seed)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn nor_has_one_of_the_writes_for_many_at_once(
        states in prop::collection::vec(prop::collection::vec(shape(), 10), 1..4),
        seed in any::<u64>(),
    ) {
        without_gaps(&states, 10, seed)?;
    }
}
