//! Manifests are served, whatever else lies in the folder.

use weir_tests::world::{Cluster, Server, World, ask_tcp, ask_udp, until};

use super::fixture::{PATIENCE, VIP4, VIP6, at, reach, service, service_maps, start, web};

#[test]
fn a_service_in_a_manifest_is_served() {
    let cluster = Cluster::start("agent-vip", &["a"], &["--map-size", "small"]).unwrap();
    let (node, manifests) = (cluster.node(0), cluster.manifests());
    let [client, server] = ["client", "web"].map(|name| cluster.pod(0, name).unwrap());
    let _tcp = server
        .at(8080)
        .map(|at| Server::tcp(&server, at, "web").unwrap());
    let _udp = server
        .at(8080)
        .map(|at| Server::udp(&server, at, "dns").unwrap());
    let web = service("web", [VIP4, VIP6], "TCP", &server.addresses());
    manifests.apply("web.yaml", &web).unwrap();
    for vip in [VIP4, VIP6] {
        reach(&client, vip, "web").unwrap();
        reach(node, vip, "web").unwrap();
        let answer = ask_tcp(&client, at(vip)).unwrap();
        assert_eq!(answer.peer, at(vip), "the client sees the frontend");
    }

    let dns = ["10.96.0.53", "fd00:10:96::53"];
    let names = service("dns", dns, "UDP", &server.addresses());
    manifests.apply("dns.yaml", &names).unwrap();
    for vip in dns {
        let answer = until("UDP to answer", PATIENCE, || {
            Ok(ask_udp(&client, at(vip), b"q").ok())
        })
        .unwrap();
        assert_eq!((answer.name.as_str(), answer.peer), ("dns", at(vip)));
    }

    manifests.remove("web.yaml").unwrap();
    until("the Service to be gone", PATIENCE, || {
        Ok(service_maps(node)["frontends4"].len().eq(&1).then_some(()))
    })
    .unwrap();
    assert!(ask_tcp(&client, at(VIP4)).is_err());
    manifests.remove("dns.yaml").unwrap();
    until("empty maps", PATIENCE, || {
        Ok(service_maps(node).values().all(Vec::is_empty).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_broken_manifest_is_named_and_harms_no_other() {
    let world = World::new("agent-yaml").unwrap();
    let node = world.node("a").unwrap();
    let (server, _tcp) = web(&node);
    let agent = start(&node);
    let good = service("web", [VIP4, VIP6], "TCP", &server.addresses());
    agent.apply("web.yaml", &good).unwrap();
    reach(&node, VIP4, "web").unwrap();

    agent
        .apply(
            "broken.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: [\n",
        )
        .unwrap();
    let status = until("the status to name the file", PATIENCE, || {
        let status = agent.proxyctl(&["status"])?;
        Ok(status.contains("broken.yaml").then_some(status))
    })
    .unwrap();
    assert!(status.contains("API        WARNING"), "{status}");
    let other = service(
        "other",
        ["10.96.0.11", "fd00:10:96::11"],
        "TCP",
        &server.addresses(),
    );
    agent.apply("other.yaml", &other).unwrap();
    reach(&node, "10.96.0.11", "web").unwrap();
    reach(&node, VIP6, "web").unwrap();

    // What was good stays when its file breaks.
    agent.apply("web.yaml", "kind: [\n").unwrap();
    until("the status to name web.yaml", PATIENCE, || {
        Ok(agent
            .proxyctl(&["status"])?
            .contains("/web.yaml")
            .then_some(()))
    })
    .unwrap();
    reach(&node, VIP4, "web").unwrap();
}
