//! How much of the agent's memory 10 000 Services with 10 endpoints each take: from the JSON of an API server to
//! programmed maps, with the agent's allocator. Nothing else may run in this process.

use std::{io::Write as _, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1 as core, api::discovery::v1 as discovery};
use proxy_agent::{
    datapath::MemoryWords,
    model::Kind,
    observe::{Changes, Store, Update, intern::Interner},
    service::{ServiceSync, ServiceTables},
};
use proxy_common::node::NODE_PORT_WORDS;
use serde_json::{Value, json};
use tikv_jemallocator::Jemalloc;
use weir_tests::heap::{Elsewhere, Parts, list};

#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

const NODE: &str = "node-7";
const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;
/// Resident bytes per Service.
const BUDGET: usize = 850;

fn tables() -> ServiceTables {
    ServiceTables {
        frontends4: Box::new(Elsewhere("FRONTENDS4")),
        frontends6: Box::new(Elsewhere("FRONTENDS6")),
        backends4: Box::new(Elsewhere("BACKENDS4")),
        backends6: Box::new(Elsewhere("BACKENDS6")),
        slots: Box::new(Elsewhere("BACKEND_SLOTS")),
        members: Box::new(Elsewhere("BACKEND_MEMBERS")),
        affinity: Box::new(Elsewhere("AFFINITY")),
        maglev: Box::new(Elsewhere("MAGLEV")),
        sources4: Box::new(Elsewhere("SOURCES4")),
        sources6: Box::new(Elsewhere("SOURCES6")),
        vips4: Box::new(Elsewhere("VIPS4")),
        vips6: Box::new(Elsewhere("VIPS6")),
        epoch: Box::new(Elsewhere("SERVICE_EPOCH")),
        node_ports: Box::new(MemoryWords::new(NODE_PORT_WORDS)),
    }
}

fn service(number: usize) -> Value {
    json!({
        "metadata": { "name": format!("service-{number}"), "namespace": "bench", "uid": format!("{number:036}") },
        "spec": {
            "clusterIP": format!("10.96.{}.{}", number / 250, number % 250 + 1),
            "clusterIPs": [format!("10.96.{}.{}", number / 250, number % 250 + 1)],
            "selector": { "app": format!("service-{number}") },
            "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }],
        },
    })
}

fn slice(number: usize) -> Value {
    let endpoint = |endpoint: usize| {
        let number = number * ENDPOINTS + endpoint;
        json!({
            "addresses": [format!("10.{}.{}.{}", 128 + number / 65536, number / 256 % 256, number % 256)],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": format!("node-{}", number * 7 % 100),
            "targetRef": { "kind": "Pod", "namespace": "bench", "name": format!("pod-{number}") },
        })
    };
    json!({
        "metadata": {
            "name": format!("service-{number}-x7k2p"), "namespace": "bench",
            "labels": { "kubernetes.io/service-name": format!("service-{number}") },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>(),
    })
}

#[test]
fn a_service_with_ten_endpoints_stays_within_the_budget() {
    let interner = Interner::new(NODE);
    let store = Store::new();
    let mut changes = Changes::new(Arc::clone(&store), Duration::ZERO);
    let mut sync = ServiceSync::new(tables(), NODE).unwrap();
    let mut parts = Parts::of(SERVICES);
    let services = list::<core::Service>(SERVICES, service, &interner);
    store.update([Update::Replace(Kind::Service, services)]);
    drop(changes.take(&store.read()));
    parts.add("Services in the store");
    let slices = list::<discovery::EndpointSlice>(SERVICES, slice, &interner);
    store.update([Update::Replace(Kind::EndpointSlice, slices)]);
    store.update([Update::Replace(Kind::Node, Vec::new())]);
    drop(changes.take(&store.read()));
    parts.add("slices in the store");
    let snapshot = store.read();
    let report = sync.sync(&snapshot, &changes.take(&snapshot).dirty);
    drop(snapshot);
    assert_eq!(report.synced, SERVICES);
    assert_eq!(sync.image().pool4.len(), SERVICES * ENDPOINTS);
    drop(report);
    parts.add("what is programmed");
    let (total, parts) = parts.total();
    assert!(
        total <= BUDGET,
        "{total} bytes per Service, {BUDGET} are allowed: {parts:?}"
    );
    // The figures are wanted when the test passes, too.
    writeln!(std::io::stderr(), "{total} bytes per Service: {parts:?}").unwrap();
}
