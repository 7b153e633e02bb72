//! Ids that flows and affinity still name are not somebody else's after a restart.

use proxy_agent::{ctl::render::words::now, datapath::Table as _};
use proxy_common::{
    affinity::{Affinity, AffinityKey},
    conntrack::{Flow4, FlowKey4, FlowState},
};
use serde_json::json;
use weir_tests::{
    datapath::reader,
    world::{Cluster, Node},
};

/// What a former agent gave out and back.
const SERVICE: u32 = 5000;
const BACKEND: u32 = 6000;
const AFFINE: u32 = 7000;
const ENDPOINT: u32 = 2;

fn name_them(node: &Node) {
    let reader = reader(node).unwrap();
    let key = FlowKey4 {
        scope: ENDPOINT,
        local: 1,
        remote: 2,
        local_port: 1,
        remote_port: 80,
        protocol: 6,
        pad: [0; 3],
    };
    let state = FlowState {
        expires: now() + 1000,
        service: SERVICE,
        backend: BACKEND,
        ..FlowState::default()
    };
    let flow = Flow4 {
        state,
        ..Flow4::default()
    };
    let mut flows = reader.maps().conntrack4.clone();
    flows.set(&key, &flow).unwrap();
    let client = AffinityKey {
        client: [1; 4],
        service: SERVICE - 1,
    };
    let affinity = Affinity {
        backend: AFFINE,
        last_used: now(),
    };
    let mut affinities = reader.maps().affinity.clone();
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
            let backends = maps(&cluster).backends4.entries().ok()?;
            (backends.len() == 2).then_some(backends)
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
            (backends.len() == 4).then_some(backends)
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
    let mut ids: Vec<u32> = endpoints.iter().map(|(_, e)| e.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 3], "{ENDPOINT} is still a flow's");
}
