//! What ids and addresses mean, for people.

use super::{policies::Policies, services::Services};
use crate::{api::messages::Names, model::Snapshot, pod::Pods};

/// Names of everything that maps hold by number.
pub(super) fn names(
    snapshot: &Snapshot,
    services: &Services,
    policies: &Policies,
    pods: &Pods,
) -> Names {
    let wired = pods.names();
    let endpoints = wired.map(|(id, pod, _)| (id, pod.to_string())).collect();
    let wired = pods.names();
    let wired = wired.flat_map(|(_, pod, ips)| ips.iter().map(move |ip| (*ip, pod.to_string())));
    let watched = snapshot
        .pods
        .values()
        .filter(|pod| !pod.host_network && !pod.terminated);
    let watched = watched.flat_map(|pod| pod.ips.iter().map(|ip| (*ip, pod.name.to_string())));
    let nodes = snapshot.nodes.values().flat_map(|node| {
        let name = format!("node/{}", node.name);
        node.addresses.iter().map(move |ip| (*ip, name.clone()))
    });
    Names {
        services: services.names(),
        cookies: policies.names(),
        endpoints,
        addresses: nodes.chain(watched).chain(wired).collect(),
        policy: policies.rows_and_classes(),
    }
}
