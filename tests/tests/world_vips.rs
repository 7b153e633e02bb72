//! Addresses of Services between real sockets: what is refused, what is dropped, what is the host's, and pods whose sockets see
//! what they asked for.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io::ErrorKind, net::SocketAddr};

use proxy_agent::datapath::flows::Flows;
use serde_json::json;
use weir_tests::{
    datapath::{drops, reader},
    in_every_mode,
    modes::Mode,
    served::{ask_all, await_answer, serve, service},
    world::{
        Cluster, Place, Server, ask_tcp, ask_udp_connected,
        cluster::{POD_PORT, SERVICE_PORT},
    },
};

in_every_mode![
    what_no_service_has_is_dropped_and_served_as_soon_as_one_has_it,
    other_ports_of_external_addresses_are_the_hosts,
];

fn what_no_service_has_is_dropped_and_served_as_soon_as_one_has_it(mode: Mode) {
    let cluster = Cluster::start("nobody", &["a"], mode).unwrap();
    let (client, web) = (
        cluster.pod(0, "client").unwrap(),
        cluster.pod(0, "web").unwrap(),
    );
    let _servers = serve(&web).unwrap();
    let [v4, v6] = cluster.node(0).addresses();
    let outside = cluster.world().outside();
    let routes = format!("route add 10.96.0.0/24 via {v4}\nroute add fd00:10:96::/112 via {v6}\n");
    outside.batch(&routes).unwrap();
    // Its ranges are led to weir_host once there is a Service in them.
    for to in service(&cluster, "first", 80, &[&web]).unwrap() {
        await_answer(&cluster, cluster.node(0), to).unwrap();
    }
    let places: [&Place; 3] = [&client, cluster.node(0), outside];
    let nobody = ["10.96.0.81", "fd00:10:96::51"]
        .map(|ip| SocketAddr::new(ip.parse().unwrap(), SERVICE_PORT));
    for place in places {
        for to in nobody {
            let error = ask_tcp(place, to).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{to}");
        }
    }
    let found = drops(cluster.node(0)).unwrap();
    assert!(
        found.get("no-service").is_some_and(|n| *n >= 6),
        "{found:?}"
    );
    let to = service(&cluster, "second", 81, &[&web]).unwrap();
    assert_eq!(to, nobody);
    for place in places {
        for to in nobody {
            await_answer(&cluster, place, to).unwrap();
            assert_eq!(ask_all(place, to), ["web"; 3], "{to}");
            let other = SocketAddr::new(to.ip(), SERVICE_PORT + 1);
            let error = ask_tcp(place, other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "TCP {other}");
            let error = ask_udp_connected(place, other, b"?").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "UDP {other}");
        }
    }
}

fn other_ports_of_external_addresses_are_the_hosts(mode: Mode) {
    let cluster = Cluster::start("hosts", &["a"], mode).unwrap();
    let (client, web) = (
        cluster.pod(0, "client").unwrap(),
        cluster.pod(0, "web").unwrap(),
    );
    let _servers = serve(&web).unwrap();
    let node = cluster.node(0);
    node.batch("address add 203.0.113.80/32 dev lo\naddress add 2001:db8::80/128 dev lo\n")
        .unwrap();
    let [v4, v6] = node.addresses();
    let outside = cluster.world().outside();
    let routes = format!("route add 203.0.113.0/24 via {v4}\nroute add 2001:db8::/64 via {v6}\n");
    outside.batch(&routes).unwrap();
    let addresses = ["203.0.113.80", "2001:db8::80"];
    let more = json!({
        "type": "LoadBalancer",
        "status": { "loadBalancer": { "ingress": addresses.map(|ip| json!({ "ip": ip })) } },
    });
    cluster.service("web", 80, &[&web], &more).unwrap();
    let at = |port| addresses.map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
    let _own: Vec<Server> = at(2222)
        .into_iter()
        .map(|at| Server::tcp(node, at, "host").unwrap())
        .collect();
    for place in [outside, &*client] {
        for (to, own) in at(SERVICE_PORT).into_iter().zip(at(2222)) {
            await_answer(&cluster, place, to).unwrap();
            assert_eq!(ask_all(place, to), ["web"; 3], "{to}");
            assert_eq!(ask_tcp(place, own).unwrap().name, "host", "{own}");
        }
    }
}

/// Flows of TCP that the node has translated for a Service.
fn translated(cluster: &Cluster) -> usize {
    let reader = reader(cluster.node(0)).unwrap();
    let flows = reader.maps().flows();
    let flows = flows.into_iter().flat_map(Flows::iter);
    flows
        .filter(|(_, flow)| {
            flow.service != 0
                && flow.target[0].destination_port == POD_PORT.to_be()
                && proxy_common::conntrack::Head::unpack(flow.head).protocol == 6
        })
        .count()
}

#[test]
fn a_pod_may_have_its_connections_translated_packet_by_packet() {
    let cluster = Cluster::start("optout", &["a"], &[]).unwrap();
    let (plain, web) = (
        cluster.pod(0, "plain").unwrap(),
        cluster.pod(0, "web").unwrap(),
    );
    let _servers = serve(&web).unwrap();
    let to = service(&cluster, "web", 80, &[&web]).unwrap();
    for to in to {
        cluster
            .eventually("an answer", || ask_tcp(&plain, to).ok())
            .unwrap();
    }
    // The first ones may have come before the Service.
    let first = translated(&cluster);
    for to in to {
        ask_tcp(&plain, to).unwrap();
    }
    assert_eq!(translated(&cluster), first, "balanced at the socket");
    let object = |value: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "plain",
                "namespace": "default",
                "uid": "a-plain",
                "annotations": { "weir.dev/socket-balancing": value },
            },
            "spec": { "nodeName": "a", "containers": [{ "name": "main", "image": "none" }] },
            "status": { "phase": "Running", "podIP": plain.addresses()[0] },
        })
    };
    let say = |value| {
        let folder = cluster.manifests();
        folder
            .apply_objects("pod-plain.yaml", &[object(value)])
            .unwrap();
    };
    say("false");
    for (count, to) in (first + 1..).zip(to) {
        cluster
            .eventually("a translated flow", || {
                assert_eq!(ask_tcp(&plain, to).unwrap().peer, to);
                (translated(&cluster) >= count).then_some(())
            })
            .unwrap();
    }
    // Nobody else notices, and it may change its mind.
    let other = cluster.pod(0, "other").unwrap();
    let before = translated(&cluster);
    ask_tcp(&other, to[0]).unwrap();
    assert_eq!(translated(&cluster), before);
    say("true");
    cluster
        .eventually("balancing at the socket", || {
            let before = translated(&cluster);
            ask_tcp(&plain, to[0]).unwrap();
            (translated(&cluster) == before).then_some(())
        })
        .unwrap();
}
