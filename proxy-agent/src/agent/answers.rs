//! What ids and addresses mean, and what a full comparison would change, for people.

use crate::{api::messages::Names, model::Snapshot, subject::Subject};

/// Names of everything that maps hold by number.
pub(super) fn names(snapshot: &Snapshot, subjects: &[&dyn Subject]) -> Names {
    let watched = snapshot
        .pods
        .values()
        .filter(|pod| !pod.host_network && !pod.terminated);
    let watched = watched.flat_map(|pod| pod.ips.iter().map(|ip| (ip, pod.name.to_string())));
    let nodes = snapshot.nodes.values().flat_map(|node| {
        let name = format!("node/{}", node.name);
        node.addresses.iter().map(move |ip| (*ip, name.clone()))
    });
    let mut names = Names {
        addresses: nodes.chain(watched).collect(),
        ..Names::default()
    };
    for subject in subjects {
        subject.names(&mut names);
    }
    names
}

/// What a full comparison would change.
pub(super) fn diff(snapshot: &Snapshot, subjects: &[&dyn Subject]) -> Vec<String> {
    let lines = subjects.iter().map(|subject| subject.diff(snapshot));
    lines
        .flat_map(|lines| lines.unwrap_or_else(|error| vec![format!("! {error:#}")]))
        .collect()
}
