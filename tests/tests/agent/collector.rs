//! Flows that are over give their room back; others stay.

use std::net::SocketAddr;

use proxy_agent::{ctl::render::words::now, datapath::Table as _};
use proxy_common::{
    address::TCP,
    conntrack::{Flow4, Flow6, FlowState, REUSE_SECONDS},
};
use weir_tests::{
    datapath::reader,
    family::{Family, Four, Six},
    world::{Agent, Manifests, World, until},
};

use super::fixture::{PATIENCE, get};

const CONFIGURATION: &str =
    "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\nsync: { collectPeriod: 1s }\n";
const ENDED: u16 = 1;
const LIVE: u16 = 2;

/// A flow of a pod to another.
fn key<F: Family>(ips: [&str; 2], port: u16) -> F::FlowKey {
    let [local, remote] = ips.map(|ip| ip.parse().unwrap());
    let (local, remote) = (SocketAddr::new(local, port), SocketAddr::new(remote, 80));
    F::flow(1, local, remote, TCP).unwrap()
}

fn expiring(expires: u32) -> FlowState {
    FlowState {
        expires,
        ..FlowState::default()
    }
}

#[test]
fn flows_that_are_over_give_their_room_back() {
    let world = World::new("agent-collector").unwrap();
    let node = world.node("a").unwrap();
    let path = node.file("/run/weir.yaml");
    std::fs::write(&path, CONFIGURATION).unwrap();
    let flags = ["--map-size", "small", "--config", path.to_str().unwrap()];
    let manifests = Manifests::new().unwrap();
    let _agent = Agent::start(&node, &manifests, &flags).unwrap();

    let key4 = |port| key::<Four>(["10.244.1.2", "10.244.2.2"], port);
    let key6 = |port| key::<Six>(["fd00:244:1::2", "fd00:244:2::2"], port);
    let reader = reader(&node).unwrap();
    let (mut v4, mut v6) = (
        reader.maps().conntrack4.clone(),
        reader.maps().conntrack6.clone(),
    );
    for (port, expires) in [(ENDED, now() - REUSE_SECONDS - 1), (LIVE, now() + 1000)] {
        let state = expiring(expires);
        let flow = Flow4 {
            state,
            ..Flow4::default()
        };
        v4.set(&key4(port), &flow).unwrap();
        let flow = Flow6 {
            state,
            ..Flow6::default()
        };
        v6.set(&key6(port), &flow).unwrap();
    }
    until("the ended flows to be collected", PATIENCE, || {
        let gone = v4.get(&key4(ENDED))?.is_none() && v6.get(&key6(ENDED))?.is_none();
        Ok(gone.then_some(()))
    })
    .unwrap();
    assert!(v4.get(&key4(LIVE)).unwrap().is_some());
    assert!(v6.get(&key6(LIVE)).unwrap().is_some());
    until("them to be counted", PATIENCE, || {
        let (_, text) = get(&node, 10249, "/metrics")?;
        let counted = ["IPv4", "IPv6"].map(|family| {
            text.contains(&format!(
                "kubeproxy_conntrack_reconciler_deleted_entries_total{{ip_family=\"{family}\"}} 1\n"
            ))
        });
        Ok((counted == [true; 2]).then_some(()))
    })
    .unwrap();
}
