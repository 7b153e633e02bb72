//! What ids and addresses mean, and what a full comparison would change, for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use crate::{
    api::messages::Names, model::Snapshot, observe::SourceStatus, subject::Subject, usage::in_full,
};

/// Names of everything that maps hold by number, and how far behind the cluster that may be.
pub(super) fn names(
    snapshot: &Snapshot,
    source: &SourceStatus,
    subjects: &[&dyn Subject],
) -> Names {
    let mut names = Names {
        addresses: nodes(snapshot).chain(pods(snapshot)).map(named).collect(),
        behind: behind(source),
        ..Names::default()
    };
    for subject in subjects {
        subject.names(&mut names);
    }
    names
}

/// Why what is known may be old.
fn behind(status: &SourceStatus) -> Option<String> {
    let SourceStatus {
        source,
        connected,
        error,
        ..
    } = status;
    let why = error.as_deref().unwrap_or("no answer yet");
    let seconds = status.age().as_secs();
    (!connected).then(|| format!("{source} has not answered for {seconds}s: {why}"))
}

/// Names of those of these addresses that are a pod's, a node's or a Service's; all of them where one is several's, as a
/// load balancer's address that is the node's.
pub(super) fn names_at(snapshot: &Snapshot, wanted: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, String> {
    let all = services(snapshot)
        .chain(nodes(snapshot))
        .chain(pods(snapshot));
    let mut names: BTreeMap<IpAddr, String> = BTreeMap::new();
    for one in all.filter(|(address, _)| wanted.contains(address)) {
        let (address, name) = named(one);
        names
            .entry(address)
            .and_modify(|names| *names = format!("{names}, {name}"))
            .or_insert(name);
    }
    names
}

/// The kind of an object, if it is to be said, and its name.
type Words<'a> = (&'static str, &'a dyn fmt::Display);

fn named((address, (kind, name)): (IpAddr, Words<'_>)) -> (IpAddr, String) {
    (address, format!("{kind}{name}"))
}

fn pods(snapshot: &Snapshot) -> impl Iterator<Item = (IpAddr, Words<'_>)> {
    let pods = snapshot.pods.values();
    let own = pods.filter(|pod| !pod.host_network && !pod.terminated);
    own.flat_map(|pod| {
        let name: Words<'_> = ("", &pod.name);
        pod.ips.iter().map(move |ip| (ip, name))
    })
}

fn nodes(snapshot: &Snapshot) -> impl Iterator<Item = (IpAddr, Words<'_>)> {
    snapshot.nodes.values().flat_map(|node| {
        let name: Words<'_> = ("node/", &node.name);
        node.addresses.iter().map(move |ip| (*ip, name))
    })
}

/// By their cluster IPs, load balancer and external addresses.
fn services(snapshot: &Snapshot) -> impl Iterator<Item = (IpAddr, Words<'_>)> {
    snapshot.services.values().flat_map(|service| {
        let name: Words<'_> = ("service/", &service.name);
        let own = service.cluster_ips.iter();
        let more = service
            .external_ips()
            .iter()
            .chain(service.load_balancer_ips());
        own.chain(more.copied()).map(move |ip| (ip, name))
    })
}

/// What a full comparison would change.
pub(super) fn diff(snapshot: &Snapshot, subjects: &[&dyn Subject]) -> Vec<String> {
    let lines = subjects.iter().map(|subject| subject.diff(snapshot));
    lines
        .flat_map(|lines| lines.unwrap_or_else(|error| vec![format!("! {}", in_full(&error))]))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Node, ObjectName, Service};

    #[test]
    fn an_address_of_several_has_all_their_names() {
        let [both, own]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let node = Node {
            name: "a".to_owned(),
            addresses: vec![both, own],
            ..Node::default()
        };
        let service = Service {
            name: ObjectName::new("shop", "web"),
            cluster_ips: [both].into_iter().collect(),
            ..Service::default()
        };
        let snapshot = Snapshot {
            nodes: [("a".into(), Arc::new(node))].into(),
            services: [(service.name.clone(), Arc::new(service))].into(),
            ..Snapshot::default()
        };
        let names = names_at(&snapshot, &[both, own].into());
        assert_eq!(names[&both], "service/shop/web, node/a");
        assert_eq!(names[&own], "node/a");
        assert!(names_at(&snapshot, &BTreeSet::new()).is_empty());
    }
}
