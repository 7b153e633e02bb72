//! An oracle for the choice: the rules once more, transcribed one by one from Kubernetes' documentation with
//! no thought of speed, and a property that compares the two.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::model::{EndpointPort, EndpointState, Endpoints, ObjectName, Protocol, SharedList};

/// An endpoint as an `EndpointSlice` has it, conditions as they are on the wire.
#[derive(Clone, Debug)]
struct Raw {
    host: u8,
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
    node: Option<u8>,
    zones: Vec<u8>,
    nodes: Vec<u8>,
}

/// A slice: which port name it has, which number, and its endpoints.
type RawSlice = (bool, u16, Vec<Raw>);

fn raw() -> impl Strategy<Value = Raw> {
    let condition = || prop_oneof![Just(None), any::<bool>().prop_map(Some)];
    let hints = || {
        prop_oneof![
            1 => Just(Vec::new()),
            3 => prop::collection::vec(0..3_u8, 1..3),
        ]
    };
    let node = prop_oneof![Just(None), (0..3_u8).prop_map(Some)];
    (
        0..6_u8,
        condition(),
        condition(),
        condition(),
        node,
        hints(),
        hints(),
    )
        .prop_map(
            |(host, ready, serving, terminating, node, zones, nodes)| Raw {
                host,
                ready,
                serving,
                terminating,
                node,
                zones,
                nodes,
            },
        )
}

fn slices() -> impl Strategy<Value = Vec<RawSlice>> {
    let slice = (
        any::<bool>(),
        8080..8082_u16,
        prop::collection::vec(raw(), 0..5),
    );
    prop::collection::vec(slice, 0..4)
}

/// The node that chooses.
const HERE: u8 = 0;

fn hint(nodes: &[u8]) -> NodeHint {
    if nodes.is_empty() {
        NodeHint::None
    } else if nodes.contains(&HERE) {
        NodeHint::Here
    } else {
        NodeHint::Others
    }
}

fn text(prefix: &str, number: u8) -> Arc<str> {
    format!("{prefix}{number}").into()
}

fn address(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

fn built(slices: &[RawSlice]) -> Vec<Arc<EndpointSlice>> {
    let slice = |(i, (named, port, raws)): (usize, &RawSlice)| {
        let endpoints = raws.iter().map(|r| {
            let conditions = Conditions {
                ready: r.ready.unwrap_or(true),
                serving: r.serving.unwrap_or(true),
                terminating: r.terminating.unwrap_or(false),
            };
            let placement = Placement {
                here: r.node == Some(HERE),
                for_nodes: hint(&r.nodes),
                for_zones: r.zones.iter().map(|z| text("zone", *z)).collect(),
            };
            let state = EndpointState {
                conditions,
                placement,
            };
            (address(r.host), state)
        });
        Arc::new(EndpointSlice {
            name: ObjectName::new("ns", format!("slice{i}")),
            service: ObjectName::new("ns", "web"),
            ipv6: false,
            ports: vec![EndpointPort {
                name: if *named { "http" } else { "other" }.into(),
                protocol: Protocol::Tcp,
                port: *port,
            }]
            .into(),
            endpoints: Endpoints::new(endpoints, SharedList::from),
        })
    };
    slices.iter().enumerate().map(slice).collect()
}

type Servers = BTreeSet<(IpAddr, u16)>;

/// Who serves clients of the whole cluster, of this node, and whoever serves at all; whether anyone could be chosen.
type Answer = (Servers, Servers, Servers, bool);

/// The rules, one statement each.
fn oracle(slices: &[RawSlice], node: u8, zone: Option<u8>) -> Answer {
    // Merge the slices: one endpoint per address and port; one that terminates never replaces one that does
    // not; among equals a ready one counts.
    let mut merged: BTreeMap<(u8, u16), Raw> = BTreeMap::new();
    for (named, port, raws) in slices {
        for raw in raws.iter().filter(|_| *named) {
            let key = (raw.host, *port);
            let badness = |r: &Raw| {
                let mut badness = 0;
                if r.terminating == Some(true) {
                    badness += 2;
                }
                if r.ready == Some(false) {
                    badness += 1;
                }
                badness
            };
            match merged.get(&key) {
                Some(old) if badness(old) <= badness(raw) => {}
                _ => drop(merged.insert(key, raw.clone())),
            }
        }
    }
    let ready: Vec<_> = merged
        .iter()
        .filter(|(_, r)| r.ready != Some(false))
        .collect();
    let closing: Vec<_> = merged
        .iter()
        .filter(|(_, r)| r.serving != Some(false) && r.terminating == Some(true))
        .collect();
    let keys = |list: &[(&(u8, u16), &Raw)]| -> BTreeSet<(IpAddr, u16)> {
        list.iter().map(|((h, p), _)| (address(*h), *p)).collect()
    };
    // Cluster: ready endpoints, narrowed by hints; if there are none, the closing ones, hints ignored.
    let nodes_hinted = ready.iter().all(|(_, r)| !r.nodes.is_empty());
    let mine: Vec<_> = ready
        .iter()
        .copied()
        .filter(|(_, r)| r.nodes.contains(&node))
        .collect();
    let zones_hinted = ready.iter().all(|(_, r)| !r.zones.is_empty());
    let near: Vec<_> = ready
        .iter()
        .copied()
        .filter(|(_, r)| zone.is_some_and(|z| r.zones.contains(&z)))
        .collect();
    let cluster = if ready.is_empty() {
        keys(&closing)
    } else if nodes_hinted && !mine.is_empty() {
        keys(&mine)
    } else if zones_hinted && !near.is_empty() {
        keys(&near)
    } else {
        keys(&ready)
    };
    // Local: ready endpoints of this node, else its closing ones; hints never count.
    let here = |list: &[(&(u8, u16), &Raw)]| -> BTreeSet<(IpAddr, u16)> {
        let local: Vec<_> = list
            .iter()
            .copied()
            .filter(|(_, r)| r.node == Some(node))
            .collect();
        keys(&local)
    };
    let mut local = here(&ready);
    if local.is_empty() {
        local = here(&closing);
    }
    // What has begun goes on with whoever serves, or is ready, whatever terminates and whatever hints say.
    let serving: Vec<_> = merged
        .iter()
        .filter(|(_, r)| r.serving != Some(false) || r.ready != Some(false))
        .collect();
    let some = !ready.is_empty() || !closing.is_empty();
    (cluster, local, keys(&serving), some)
}

/// As `addEndpoints` of `endpointslicecache.go` has it.
#[test]
fn a_server_that_any_slice_places_here_is_here() {
    let placed = |node| Raw {
        host: 1,
        ready: None,
        serving: None,
        terminating: None,
        node,
        zones: Vec::new(),
        nodes: Vec::new(),
    };
    let port = ServicePort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: 80,
        node_port: 0,
    };
    for nodes in [[None, Some(HERE)], [Some(HERE), Some(HERE + 1)]] {
        let slices = nodes.map(|node| (true, 8080, vec![placed(node)]));
        let choice = choose(&port, false, &built(&slices), None);
        assert_eq!(choice.local.len(), 1, "{nodes:?}");
    }
}

fn set(servers: &[Server]) -> BTreeSet<(IpAddr, u16)> {
    servers.iter().map(|s| (s.address, s.port)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn choice_is_what_the_rules_say(
        // Two endpoints for one server that differ in nothing but place are a mistake of the API's user; places are made
        // a function of the host.
        mut raws in slices(),
        zone in prop_oneof![Just(None), (0..3_u8).prop_map(Some)],
    ) {
        let mut places = BTreeMap::new();
        for raw in raws.iter_mut().flat_map(|(_, _, raws)| raws) {
            let place = (raw.node, raw.zones.clone(), raw.nodes.clone());
            let place = places.entry(raw.host).or_insert(place).clone();
            (raw.node, raw.zones, raw.nodes) = place;
        }
        let zone_name = zone.map(|z| text("zone", z));
        let zone_name = zone_name.as_deref();
        let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: 0 };
        let choice = choose(&port, false, &built(&raws), zone_name);
        let (cluster, local, serving, some) = oracle(&raws, HERE, zone);
        prop_assert_eq!(set(&choice.cluster), cluster);
        prop_assert_eq!(set(&choice.local), local);
        prop_assert_eq!(set(&choice.serving), serving);
        prop_assert!(choice.cluster.iter().chain(&choice.local).all(|s| choice.serving.contains(s)));
        prop_assert_eq!(choice.any, some);
        prop_assert_eq!(choice.cluster.len(), set(&choice.cluster).len());
        prop_assert!(choice.local.iter().all(|s| s.local));
        prop_assert!(choose(&port, true, &built(&raws), zone_name).cluster.is_empty());
    }
}
