//! Services between real sockets, each topic at the socket, packet by packet, and through the host's stack.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use serde_json::json;
use weir_tests::{
    datapath::drops,
    in_every_mode,
    modes::Mode,
    served::{Pair, ask_all, await_answer, near_then_far, serve, service},
    world::{
        Cluster, Place, Server, Talk, ask_tcp, ask_udp, ask_udp_connected,
        cluster::{POD_PORT, SERVICE_PORT},
        set_tx_checksum,
    },
};

in_every_mode![
    pods_reach_each_other,
    a_pod_reaches_every_backend_and_its_address_is_kept,
    a_pod_reaches_itself_through_its_service,
    the_node_reaches_a_service,
    no_endpoint_is_a_refusal_at_once,
    a_port_that_a_service_has_not_is_refused_at_once,
    a_node_port_is_reached_from_outside,
    addresses_of_load_balancers_are_reached,
    large_datagrams_arrive_whole,
    a_long_stream_arrives_whole,
    a_smaller_mtu_on_the_way_is_found,
    checksums_are_right_without_offload,
    a_host_that_drops_invalid_connections_forwards,
    a_closed_port_behind_a_service_refuses,
];

fn pods_reach_each_other(mode: Mode) {
    let cluster = Cluster::start("pods", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    for server in [
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    ] {
        let servers = serve(&server).unwrap();
        for to in server.at(POD_PORT) {
            await_answer(&cluster, &client, to).unwrap();
            ask_all(&client, to);
        }
        for peer in servers.iter().flat_map(Server::peers) {
            assert!(client.addresses().contains(&peer.ip()), "{peer}");
        }
        for to in server.at(POD_PORT) {
            ask_all(server.node(), to);
        }
    }
}

fn a_pod_reaches_every_backend_and_its_address_is_kept(mode: Mode) {
    let pair = Pair::start("spread", &["a", "b"], mode).unwrap();
    pair.await_answers().unwrap();
    for to in pair.to {
        let mut names: Vec<String> = (0..20).flat_map(|_| ask_all(&pair.client, to)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names, ["far", "near"], "{to}");
    }
    for peer in pair.servers.iter().flat_map(Server::peers) {
        assert!(pair.client.addresses().contains(&peer.ip()), "{peer}");
    }
}

fn a_pod_reaches_itself_through_its_service(mode: Mode) {
    let cluster = Cluster::start("hairpin", &["a"], mode).unwrap();
    let pod = cluster.pod(0, "self").unwrap();
    let _servers = serve(&pod).unwrap();
    for to in service(&cluster, "web", 80, &[&pod]).unwrap() {
        await_answer(&cluster, &pod, to).unwrap();
        assert_eq!(ask_all(&pod, to), ["self"; 3]);
    }
}

fn the_node_reaches_a_service(mode: Mode) {
    let cluster = Cluster::start("host", &["a", "b"], mode).unwrap();
    for served in near_then_far(&cluster).map(Result::unwrap) {
        for to in served.to {
            await_answer(&cluster, cluster.node(0), to).unwrap();
            assert_eq!(ask_all(cluster.node(0), to), [served.pod.name(); 3]);
        }
    }
}

fn no_endpoint_is_a_refusal_at_once(mode: Mode) {
    let cluster = Cluster::start("refuse", &["a"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let service = service(&cluster, "empty", 80, &[]).unwrap();
    for place in [&*client, &**cluster.node(0)] {
        for to in service {
            let refused =
                |error: io::Error| (error.kind() == ErrorKind::ConnectionRefused).then_some(());
            cluster
                .eventually(&format!("TCP refusal of {to}"), || {
                    ask_tcp(place, to).err().and_then(refused)
                })
                .unwrap();
            cluster
                .eventually(&format!("UDP refusal of {to}"), || {
                    ask_udp_connected(place, to, b"?").err().and_then(refused)
                })
                .unwrap();
        }
    }
}

fn a_port_that_a_service_has_not_is_refused_at_once(mode: Mode) {
    let cluster = Cluster::start("noport", &["a"], mode).unwrap();
    let (client, pod) = (
        cluster.pod(0, "client").unwrap(),
        cluster.pod(0, "web").unwrap(),
    );
    let _servers = serve(&pod).unwrap();
    for served in service(&cluster, "web", 80, &[&pod]).unwrap() {
        let to = SocketAddr::new(served.ip(), SERVICE_PORT + 1);
        for place in [&*client, &**cluster.node(0)] {
            await_answer(&cluster, place, served).unwrap();
            let tcp = ask_tcp(place, to).unwrap_err();
            assert_eq!(tcp.kind(), ErrorKind::ConnectionRefused, "TCP {to}");
            let udp = ask_udp_connected(place, to, b"?").unwrap_err();
            assert_eq!(udp.kind(), ErrorKind::ConnectionRefused, "UDP {to}");
        }
    }
}

fn a_node_port_is_reached_from_outside(mode: Mode) {
    let cluster = Cluster::start("nodeport", &["a", "b"], mode).unwrap();
    let (near, far) = (
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    );
    let _servers = [serve(&near).unwrap(), serve(&far).unwrap()];
    let outside = cluster.world().outside();
    for (number, port, pod) in [(80, 30080, &near), (81, 30081, &far)] {
        let ports = json!({ "type": "NodePort", "ports": [
            { "name": "tcp", "protocol": "TCP", "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": port },
            { "name": "udp", "protocol": "UDP", "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": port },
        ]});
        cluster.service(pod.name(), number, &[pod], &ports).unwrap();
        for address in cluster.node(0).addresses() {
            let to = SocketAddr::new(address, port);
            await_answer(&cluster, outside, to).unwrap();
            assert_eq!(ask_all(outside, to), [pod.name(); 3]);
        }
    }
}

fn addresses_of_load_balancers_are_reached(mode: Mode) {
    let cluster = Cluster::start("balancer", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let outside = cluster.world().outside();
    let [v4, v6] = cluster.node(0).addresses();
    // As a load balancer's announcement would have it.
    outside
        .batch(&format!(
            "route add 203.0.113.0/24 via {v4}\nroute add 2001:db8::/64 via {v6}\n"
        ))
        .unwrap();
    for (index, name) in [(0, "near"), (1, "far")] {
        let pod = cluster.pod(index, name).unwrap();
        let _servers = serve(&pod).unwrap();
        let number = 80 + u8::try_from(index).unwrap();
        let ingress = [format!("203.0.113.{number}"), format!("2001:db8::{number}")];
        let external = [
            format!("203.0.113.1{number}"),
            format!("2001:db8::1{number}"),
        ];
        let more = json!({
            "type": "LoadBalancer",
            "externalIPs": external,
            "status": { "loadBalancer": { "ingress": ingress.clone().map(|ip| json!({ "ip": ip })) } },
        });
        cluster.service(name, number, &[&pod], &more).unwrap();
        for address in ingress.iter().chain(&external) {
            let to = SocketAddr::new(address.parse().unwrap(), SERVICE_PORT);
            for place in [outside, &client, cluster.node(0)] {
                await_answer(&cluster, place, to).unwrap();
                assert_eq!(ask_all(place, to), [name; 3], "{to}");
            }
        }
    }
}

fn large_datagrams_arrive_whole(mode: Mode) {
    let cluster = Cluster::start("fragments", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let payload: Vec<u8> = (0..8000_u32).map(|number| number as u8).collect();
    for served in near_then_far(&cluster).map(Result::unwrap) {
        for to in served.to {
            await_answer(&cluster, &client, to).unwrap();
            let answer = ask_udp(&client, to, &payload).unwrap();
            assert_eq!(answer.payload, payload, "{to}");
        }
    }
}

fn a_long_stream_arrives_whole(mode: Mode) {
    let cluster = Cluster::start("stream", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    for served in near_then_far(&cluster).map(Result::unwrap) {
        for to in served.to {
            await_answer(&cluster, &client, to).unwrap();
            stream(&client, to, 4 << 20);
        }
    }
}

/// The pod believes in 1500 bytes; the way to the other node has fewer, and an ICMP error says so.
fn a_smaller_mtu_on_the_way_is_found(mode: Mode) {
    let cluster = Cluster::start("mtu", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let far = cluster.pod(1, "far").unwrap();
    let _servers = serve(&far).unwrap();
    let service = service(&cluster, "web", 80, &[&far]).unwrap();
    for node in [cluster.node(0), cluster.node(1)] {
        node.batch("link set eth0 mtu 1400\n").unwrap();
    }
    for to in service {
        await_answer(&cluster, &client, to).unwrap();
        stream(&client, to, 1 << 20);
    }
}

fn checksums_are_right_without_offload(mode: Mode) {
    let pair = Pair::start("checksum", &["a", "b"], mode).unwrap();
    for pod in [&pair.client, &pair.near, &pair.far] {
        set_tx_checksum(pod, "eth0", false).unwrap();
    }
    for node in [pair.cluster.node(0), pair.cluster.node(1)] {
        set_tx_checksum(node, "eth0", false).unwrap();
    }
    pair.await_answers().unwrap();
    for to in pair.to {
        for _ in 0..10 {
            ask_all(&pair.client, to);
        }
        stream(&pair.client, to, 1 << 20);
    }
}

fn a_host_that_drops_invalid_connections_forwards(mode: Mode) {
    let cluster = Cluster::start("invalid", &["a", "b"], mode).unwrap();
    for node in [cluster.node(0), cluster.node(1)] {
        let rules = "table inet strict {\n\
            chain forward { type filter hook forward priority 0; ct state invalid drop; }\n\
            chain input { type filter hook input priority 0; ct state invalid drop; }\n\
            chain output { type filter hook output priority 0; ct state invalid drop; }\n\
            }\n";
        node.run_with_input(&["nft", "-f", "-"], rules).unwrap();
    }
    let pair = Pair::on(cluster, 1).unwrap();
    pair.await_answers().unwrap();
    let node = pair.cluster.node(0);
    for to in pair.to {
        for _ in 0..10 {
            ask_all(&pair.client, to);
        }
        await_answer(&pair.cluster, node, to).unwrap();
        ask_all(node, to);
    }
}

/// The backend's ICMP port-unreachable names the pod; the client must see it as the Service's.
fn a_closed_port_behind_a_service_refuses(mode: Mode) {
    let cluster = Cluster::start("icmp", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    for served in near_then_far(&cluster).map(Result::unwrap) {
        for to in served.to {
            await_answer(&cluster, &client, to).unwrap();
        }
        drop(served.servers);
        for to in served.to {
            let tcp = ask_tcp(&client, to).unwrap_err();
            assert_refused(&cluster, &format!("TCP {to}"), &tcp);
            let udp = ask_udp_connected(&client, to, b"?").unwrap_err();
            assert_refused(&cluster, &format!("UDP {to}"), &udp);
        }
    }
}

/// Fails with what the nodes dropped and track, if an error is any other.
fn assert_refused(cluster: &Cluster, what: &str, error: &io::Error) {
    if error.kind() == ErrorKind::ConnectionRefused {
        return;
    }
    let told = [0, 1].map(|node| {
        let agent = cluster.agent(node);
        let drops = drops(cluster.node(node)).unwrap();
        let flows = agent.proxyctl(&["dump", "conntrack"]).unwrap();
        format!("node {node} dropped {drops:?} and tracks\n{flows}")
    });
    panic!("{what}: {error}\n{}", told.join("\n"));
}

/// What is sent comes back, however much it is.
fn stream(place: &Place, to: SocketAddr, count: usize) {
    let streamed = Talk::open(place, to).and_then(|mut talk| talk.stream(count));
    streamed.unwrap_or_else(|error| panic!("{to}: {error}"));
}
