//! What the agent does for flows, which the programs track by themselves: it counts them, ends those of pods that are
//! gone, forgets affinity with its Service, and says how long they live.

use std::fs;

use proxy_agent::datapath::{FlowState, Flows, Maps, Table as _, Words as _, clock};
use proxy_common::conntrack::{FLOW_ASSURED, FLOW_FIN_0, FLOW_REPLIED, Head, Timeouts};
use serde_json::json;
use weir_tests::{
    datapath::reader,
    world::{
        Agent, Cluster, Manifests, Node, Server, Talk, World, ask_udp, cluster::POD_PORT, until,
    },
};

use super::{
    fixture::{PATIENCE, get},
    records::{flow, put},
};

const SMALL: [&str; 2] = ["--map-size", "small"];
/// Packet by packet, so that flows of Services are tracked.
const BY_PACKET: [&str; 4] = ["--map-size", "small", "--socket-balancing", "false"];

fn maps(node: &Node) -> Maps {
    reader(node).unwrap().maps().clone()
}

#[test]
fn flows_are_counted_by_state() {
    let world = World::new("agent-flows").unwrap();
    let node = world.node("a").unwrap();
    let manifests = Manifests::new().unwrap();
    let agent = Agent::start(&node, &manifests, &SMALL).unwrap();
    let open = FLOW_REPLIED | FLOW_ASSURED;
    for (slot, flags) in (7..).zip([0, FLOW_REPLIED, open, open, open | FLOW_FIN_0]) {
        put(&node, "FLOWS4", slot, &flow(flags, 1_u32));
    }
    let mut old = flow(open, [1_u32; 4]);
    old.expires = clock::seconds() - 1;
    put(&node, "FLOWS6", 8191, &old);
    for (family, state, count) in [
        ("IPv4", "new", 1),
        ("IPv4", "half-open", 1),
        ("IPv4", "established", 2),
        ("IPv4", "closing", 1),
        ("IPv4", "expired", 0),
        ("IPv6", "established", 0),
        ("IPv6", "expired", 1),
    ] {
        let line = format!("weir_flows{{ip_family=\"{family}\",state=\"{state}\"}} {count}\n");
        until(&line, PATIENCE, || {
            let (_, text) = get(&node, 10249, "/metrics")?;
            Ok(text.contains(&line).then_some(()))
        })
        .unwrap();
    }
    let line = "IPv4 5/8192, 3 assured   IPv6 0/8192, 0 assured";
    until("the status to say so", PATIENCE, || {
        let status = agent.proxyctl(&["status"])?;
        Ok(status.contains(line).then_some(()))
    })
    .unwrap();
}

/// Live flows of which one end is this endpoint.
fn live(maps: &Maps, endpoint: u32) -> usize {
    let now = clock::seconds();
    let flows = maps.flows().into_iter().flat_map(Flows::iter);
    let live = flows.filter(|(_, flow)| FlowState::of(flow, now) != FlowState::Expired);
    live.filter(|(_, flow)| flow.endpoint.iter().any(|end| u32::from(*end) == endpoint))
        .count()
}

#[test]
fn a_pods_flows_end_with_it() {
    let cluster = Cluster::start("agent-end", &["a"], &BY_PACKET).unwrap();
    let (client, web) = (
        cluster.pod(0, "client").unwrap(),
        cluster.pod(0, "web").unwrap(),
    );
    let [at, _] = web.at(POD_PORT);
    let _server = Server::tcp(&web, at, "web").unwrap();
    let [vip, _] = cluster.service("web", 10, &[&web], &json!({})).unwrap();
    let talk = cluster
        .eventually("the Service to answer", || {
            Talk::open(&client, (vip, 80).into()).ok()
        })
        .unwrap();
    let maps = maps(cluster.node(0));
    let [first, second] = [1, 2];
    assert!(live(&maps, first) > 0 && live(&maps, second) > 0);
    drop(web);
    until("the pod's flows to end", PATIENCE, || {
        Ok((live(&maps, second) == 0).then_some(()))
    })
    .unwrap();
    drop(talk);
    // Whoever comes next finds nothing of it, whichever id it has.
    let next = cluster.pod(0, "next").unwrap();
    let ids = maps.endpoints.entries().unwrap().into_iter();
    let ids: Vec<u32> = ids.map(|(id, _)| id).filter(|id| *id != first).collect();
    let [id] = ids.as_slice() else {
        panic!("{ids:?}");
    };
    assert_eq!(live(&maps, *id), 0);
    drop(next);
}

#[test]
fn affinity_ends_with_its_service() {
    let cluster = Cluster::start("agent-affinity", &["a"], &BY_PACKET).unwrap();
    let (client, web) = (
        cluster.pod(0, "client").unwrap(),
        cluster.pod(0, "web").unwrap(),
    );
    let [at, _] = web.at(POD_PORT);
    let _server = Server::udp(&web, at, "web").unwrap();
    let sticky = json!({ "sessionAffinity": "ClientIP" });
    let maps = maps(cluster.node(0));
    let affine = || -> usize { maps.affinity.entries().unwrap().len() };
    for end in ["with the wish for it", "with the Service"] {
        let [vip, _] = cluster.service("sticky", 11, &[&web], &sticky).unwrap();
        cluster
            .eventually("the client to be known", || {
                ask_udp(&client, (vip, 80).into(), b"x").ok()?;
                (affine() == 1).then_some(())
            })
            .unwrap();
        let epoch = maps.service_epoch.get(&0).unwrap();
        if end == "with the Service" {
            cluster.manifests().remove("service-sticky.yaml").unwrap();
        } else {
            cluster.service("sticky", 11, &[&web], &json!({})).unwrap();
        }
        until(&format!("affinity to end {end}"), PATIENCE, || {
            Ok((affine() == 0).then_some(()))
        })
        .unwrap();
        until("flows to be told", PATIENCE, || {
            Ok((maps.service_epoch.get(&0)? != epoch).then_some(()))
        })
        .unwrap();
    }
}

#[test]
fn ports_that_are_more_than_the_nodes_own_are_known_while_they_are() {
    let cluster = Cluster::start("agent-ports", &["a"], &SMALL).unwrap();
    let web = cluster.pod(0, "web").unwrap();
    let maps = maps(cluster.node(0));
    let bit = |port: u32| maps.node_ports.get(port / 64) >> (port % 64) & 1 != 0;
    assert!(!bit(80) && !bit(30_080));
    let ports = json!([
        { "name": "tcp", "protocol": "TCP", "port": 80, "targetPort": POD_PORT, "nodePort": 30_080 },
    ]);
    let wish = json!({ "type": "NodePort", "ports": ports });
    cluster.service("web", 10, &[&web], &wish).unwrap();
    cluster
        .eventually("the ports to be known", || {
            (bit(80) && bit(30_080)).then_some(())
        })
        .unwrap();
    cluster.service("web", 10, &[&web], &json!({})).unwrap();
    cluster
        .eventually("the port to be the node's own again", || {
            (!bit(30_080)).then_some(())
        })
        .unwrap();
    assert!(bit(80), "its cluster IP is there still");
}

#[test]
fn time_outs_take_effect_without_a_restart() {
    let world = World::new("agent-timeouts").unwrap();
    let node = world.node("a").unwrap();
    let path = node.file("/run/weir.yaml");
    let write = |conntrack: &str| {
        let head = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n";
        let new = path.with_extension("new");
        fs::write(&new, format!("{head}{conntrack}")).unwrap();
        fs::rename(new, &path).unwrap();
    };
    write("");
    let flags = [&SMALL[..], &["--config", path.to_str().unwrap()]].concat();
    let manifests = Manifests::new().unwrap();
    let mut agent = Agent::start(&node, &manifests, &flags).unwrap();
    let id = agent.id();
    let maps = maps(&node);
    let becomes = |wanted: Timeouts| {
        until(&format!("{wanted:?}"), PATIENCE, || {
            let config = maps.node_config.get(&0)?.unwrap_or_default();
            Ok((config.timeouts == wanted).then_some(()))
        })
        .unwrap();
    };
    let default = Timeouts {
        tcp_established: 24 * 3600,
        tcp_close_wait: 3600,
        udp: 0,
        udp_stream: 0,
    };
    becomes(default);
    write("conntrack: {tcpEstablishedTimeout: 2h, udpTimeout: 7s, udpStreamTimeout: 1m30s}\n");
    becomes(Timeouts {
        tcp_established: 7200,
        udp: 7,
        udp_stream: 90,
        ..default
    });
    write("conntrack: {udpTimeout: 7}\n");
    until("the mistake to be told", PATIENCE, || {
        let (code, status) = agent.proxyctl_verdict(&["status"])?;
        Ok((code == 1 && status.contains("conntrack.udpTimeout")).then_some(()))
    })
    .unwrap();
    write("maps: {cidrs: 9}\ncni: {mtu: 1400}\nconntrack: {udpTimeout: 9s}\n");
    becomes(Timeouts { udp: 9, ..default });
    let waiting = "in force only after a restart: cni.mtu";
    until("what waits for a restart to be told", PATIENCE, || {
        let (code, status) = agent.proxyctl_verdict(&["status"])?;
        Ok((code == 0 && status.contains(waiting)).then_some(()))
    })
    .unwrap();
    write("");
    becomes(default);
    assert_eq!(agent.id(), id);
    agent.terminate().unwrap();
}

#[test]
fn flows_of_a_pod_that_went_without_an_agent_end_at_its_return() {
    let world = World::new("agent-return").unwrap();
    let node = world.node("a").unwrap();
    let manifests = Manifests::new().unwrap();
    let mut agent = Agent::start(&node, &manifests, &SMALL).unwrap();
    agent.crash().unwrap();
    let mut of_pod = flow(FLOW_REPLIED, 1_u32);
    of_pod.endpoint = [0, 9];
    put(&node, "FLOWS4", 3, &of_pod);
    put(&node, "FLOWS4", 4, &flow(FLOW_REPLIED, 1_u32));
    agent.restart().unwrap();
    let maps = maps(&node);
    assert_eq!(live(&maps, 9), 0);
    let other = maps.flows4.get(4).unwrap();
    assert_eq!(Head::unpack(other.head).flags, FLOW_REPLIED);
}
