//! Ids that flows and affinity still name are not somebody else's after a restart.

use proxy_agent::datapath::{Table as _, clock};
use proxy_common::{
    affinity::{Affinity, AffinityKey},
    conntrack::{FLOW_ENDED, Head},
};
use serde_json::json;
use weir_tests::{
    datapath::reader,
    world::{Cluster, Node},
};

use super::records::{flow, put};

/// What a former agent gave out and back.
const SERVICE: u32 = 5000;
const BACKEND: u32 = 6000;
const AFFINE: u32 = 7000;
const ENDPOINT: u16 = 2;
const SLOT: u32 = 5;

fn name_them(node: &Node) {
    let mut flow = flow(0, 1_u32);
    flow.endpoint = [ENDPOINT, 0];
    flow.service = SERVICE;
    flow.backend = BACKEND;
    put(node, "FLOWS4", SLOT, &flow);
    let client = AffinityKey {
        client: [1; 4],
        service: SERVICE - 1,
    };
    let affinity = Affinity {
        backend: AFFINE,
        last_used: clock::seconds(),
    };
    let mut affinities = reader(node).unwrap().maps().affinity.clone();
    affinities.set(&client, &affinity).unwrap();
}

#[test]
fn ids_that_something_names_are_not_given_to_others() {
    let mut cluster = Cluster::start("agent-ids", &["a"], &["--map-size", "small"]).unwrap();
    let old = cluster.pod(0, "old").unwrap();
    cluster.service("old", 10, &[&old], &json!({})).unwrap();
    let maps = |cluster: &Cluster| reader(cluster.node(0)).unwrap().maps().clone();
    let before = cluster
        .eventually("the Service to be there", || {
            // Frontends are written last.
            let frontends = maps(&cluster).frontends4.entries().ok()?;
            let backends = maps(&cluster).backends4.entries().ok()?;
            (backends.len() == 2 && frontends.len() == 2).then_some(backends)
        })
        .unwrap();

    cluster.agent_mut(0).crash().unwrap();
    name_them(cluster.node(0));
    cluster.agent_mut(0).restart().unwrap();
    let new = cluster.pod(0, "new").unwrap();
    cluster.service("new", 11, &[&new], &json!({})).unwrap();
    let after = cluster
        .eventually("the new Service to be there", || {
            let backends = maps(&cluster).backends4.entries().ok()?;
            let frontends = maps(&cluster).frontends4.entries().ok()?;
            (backends.len() == 4 && frontends.len() == 4).then_some(backends)
        })
        .unwrap();
    for backend in &after {
        let known = before.contains(backend);
        assert!(known || backend.0 > AFFINE, "{backend:?}");
    }
    let frontends = maps(&cluster).frontends4.entries().unwrap();
    let services = frontends.iter().map(|(_, frontend)| frontend.service);
    assert_eq!(services.filter(|id| *id > SERVICE).count(), 2);

    let endpoints = maps(&cluster).endpoints.entries().unwrap();
    let ids: Vec<u32> = endpoints.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, ENDPOINT.into()]);
    let flow = maps(&cluster).flows4.get(SLOT).unwrap();
    let ended = Head::unpack(flow.head).flags & FLOW_ENDED != 0;
    assert!(ended, "an endpoint's flows end before another has its id");
}
