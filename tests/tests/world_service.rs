//! Services between real sockets, each topic at the socket, packet by packet, and through the host's stack.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
};

use serde_json::json;
use weir_tests::world::{
    Cluster, Place, Pod, Server, ask_tcp, ask_udp, ask_udp_connected,
    cluster::{POD_PORT, SERVICE_PORT},
    set_tx_checksum,
};

/// How an agent is told to balance and forward.
type Mode = &'static [&'static str];

/// Each topic once per mode.
macro_rules! topics {
    ($($topic:ident),* $(,)?) => {
        mod socket { $(#[test] fn $topic() { super::$topic(&[]); })* }
        mod packet { $(#[test] fn $topic() { super::$topic(&["--socket-balancing", "false"]); })* }
        mod stack { $(#[test] fn $topic() {
            super::$topic(&["--socket-balancing", "false", "--forwarding", "stack"]);
        })* }
    };
}

topics![
    pods_reach_each_other,
    a_pod_reaches_every_backend_and_its_address_is_kept,
    a_pod_reaches_itself_through_its_service,
    the_node_reaches_a_service,
    no_endpoint_is_a_refusal_at_once,
    a_node_port_is_reached_from_outside,
    large_datagrams_arrive_whole,
    a_long_stream_arrives_whole,
    a_smaller_mtu_on_the_way_is_found,
    checksums_are_right_without_offload,
    a_host_that_drops_invalid_connections_forwards,
    a_closed_port_behind_a_service_refuses,
];

/// TCP and UDP servers of both families on a pod's port.
fn serve(pod: &Pod) -> Vec<Server> {
    pod.at(POD_PORT)
        .into_iter()
        .flat_map(|at| {
            [
                Server::tcp(pod, at, pod.name()).unwrap(),
                Server::udp(pod, at, pod.name()).unwrap(),
            ]
        })
        .collect()
}

/// Who answers at an address, by every way of asking; all answers must come.
fn ask_all(place: &Place, to: SocketAddr) -> Vec<String> {
    let tcp = ask_tcp(place, to).unwrap_or_else(|error| panic!("TCP {to}: {error}"));
    let udp = ask_udp(place, to, b"?").unwrap_or_else(|error| panic!("UDP {to}: {error}"));
    let connected =
        ask_udp_connected(place, to, b"?").unwrap_or_else(|error| panic!("UDP {to}: {error}"));
    // The client talks to the address that it asked for, whoever serves it.
    for answer in [&tcp, &udp, &connected] {
        assert_eq!(answer.peer, to);
    }
    vec![tcp.name, udp.name, connected.name]
}

fn at(addresses: [IpAddr; 2]) -> [SocketAddr; 2] {
    addresses.map(|address| SocketAddr::new(address, SERVICE_PORT))
}

/// Waits until TCP and UDP answer at an address.
fn await_answer(cluster: &Cluster, place: &Place, to: SocketAddr) {
    cluster
        .eventually(&format!("TCP answer of {to}"), || ask_tcp(place, to).ok())
        .unwrap();
    cluster
        .eventually(&format!("UDP answer of {to}"), || {
            ask_udp(place, to, b"?").ok()
        })
        .unwrap();
}

fn pods_reach_each_other(mode: Mode) {
    let cluster = Cluster::start("pods", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    for server in [
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    ] {
        let servers = serve(&server);
        for to in server.at(POD_PORT) {
            await_answer(&cluster, &client, to);
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
    let cluster = Cluster::start("spread", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let (near, far) = (
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    );
    let servers: Vec<Server> = serve(&near).into_iter().chain(serve(&far)).collect();
    let service = cluster
        .service("web", 80, &[&near, &far], &json!({}))
        .unwrap();
    for to in at(service) {
        await_answer(&cluster, &client, to);
        let mut names: Vec<String> = (0..20).flat_map(|_| ask_all(&client, to)).collect();
        names.sort();
        names.dedup();
        assert_eq!(names, ["far", "near"], "{to}");
    }
    for peer in servers.iter().flat_map(Server::peers) {
        assert!(client.addresses().contains(&peer.ip()), "{peer}");
    }
}

fn a_pod_reaches_itself_through_its_service(mode: Mode) {
    let cluster = Cluster::start("hairpin", &["a"], mode).unwrap();
    let pod = cluster.pod(0, "self").unwrap();
    let _servers = serve(&pod);
    let service = cluster.service("web", 80, &[&pod], &json!({})).unwrap();
    for to in at(service) {
        await_answer(&cluster, &pod, to);
        assert_eq!(ask_all(&pod, to), ["self"; 3]);
    }
}

fn the_node_reaches_a_service(mode: Mode) {
    let cluster = Cluster::start("host", &["a", "b"], mode).unwrap();
    for (index, name) in [(0, "near"), (1, "far")] {
        let pod = cluster.pod(index, name).unwrap();
        let _servers = serve(&pod);
        let number = 80 + u8::try_from(index).unwrap();
        let service = cluster.service(name, number, &[&pod], &json!({})).unwrap();
        for to in at(service) {
            await_answer(&cluster, cluster.node(0), to);
            assert_eq!(ask_all(cluster.node(0), to), [name; 3]);
        }
    }
}

fn no_endpoint_is_a_refusal_at_once(mode: Mode) {
    let cluster = Cluster::start("refuse", &["a"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let service = cluster.service("empty", 80, &[], &json!({})).unwrap();
    for place in [&*client, &**cluster.node(0)] {
        for to in at(service) {
            let refused = |error: std::io::Error| {
                (error.kind() == ErrorKind::ConnectionRefused).then_some(())
            };
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

fn a_node_port_is_reached_from_outside(mode: Mode) {
    let cluster = Cluster::start("nodeport", &["a", "b"], mode).unwrap();
    let (near, far) = (
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    );
    let _servers = [serve(&near), serve(&far)];
    let outside = cluster.world().outside();
    for (number, port, pod) in [(80, 30080, &near), (81, 30081, &far)] {
        let ports = json!({ "type": "NodePort", "ports": [
            { "name": "tcp", "protocol": "TCP", "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": port },
            { "name": "udp", "protocol": "UDP", "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": port },
        ]});
        cluster.service(pod.name(), number, &[pod], &ports).unwrap();
        for address in cluster.node(0).addresses() {
            let to = SocketAddr::new(address, port);
            await_answer(&cluster, outside, to);
            assert_eq!(ask_all(outside, to), [pod.name(); 3]);
        }
    }
}

fn large_datagrams_arrive_whole(mode: Mode) {
    let cluster = Cluster::start("fragments", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let payload: Vec<u8> = (0..8000_u32).map(|number| number as u8).collect();
    for (index, name) in [(0, "near"), (1, "far")] {
        let pod = cluster.pod(index, name).unwrap();
        let _servers = serve(&pod);
        let number = 80 + u8::try_from(index).unwrap();
        let service = cluster.service(name, number, &[&pod], &json!({})).unwrap();
        for to in at(service) {
            await_answer(&cluster, &client, to);
            let answer = ask_udp(&client, to, &payload).unwrap();
            assert_eq!(answer.payload, payload, "{to}");
        }
    }
}

fn a_long_stream_arrives_whole(mode: Mode) {
    let cluster = Cluster::start("stream", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    for (index, name) in [(0, "near"), (1, "far")] {
        let pod = cluster.pod(index, name).unwrap();
        let _servers = serve(&pod);
        let number = 80 + u8::try_from(index).unwrap();
        let service = cluster.service(name, number, &[&pod], &json!({})).unwrap();
        for to in at(service) {
            await_answer(&cluster, &client, to);
            echo(&client, to, 4 << 20);
        }
    }
}

/// The pod believes in 1500 bytes; the way to the other node has fewer, and an ICMP error says so.
fn a_smaller_mtu_on_the_way_is_found(mode: Mode) {
    let cluster = Cluster::start("mtu", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let far = cluster.pod(1, "far").unwrap();
    let _servers = serve(&far);
    let service = cluster.service("web", 80, &[&far], &json!({})).unwrap();
    for node in [cluster.node(0), cluster.node(1)] {
        node.batch("link set eth0 mtu 1400\n").unwrap();
    }
    for to in at(service) {
        await_answer(&cluster, &client, to);
        echo(&client, to, 1 << 20);
    }
}

fn checksums_are_right_without_offload(mode: Mode) {
    let cluster = Cluster::start("checksum", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let (near, far) = (
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    );
    let _servers = [serve(&near), serve(&far)];
    for pod in [&client, &near, &far] {
        set_tx_checksum(pod, "eth0", false).unwrap();
    }
    for node in [cluster.node(0), cluster.node(1)] {
        set_tx_checksum(node, "eth0", false).unwrap();
    }
    let service = cluster
        .service("web", 80, &[&near, &far], &json!({}))
        .unwrap();
    for to in at(service) {
        await_answer(&cluster, &client, to);
        for _ in 0..10 {
            ask_all(&client, to);
        }
        echo(&client, to, 1 << 20);
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
    let client = cluster.pod(0, "client").unwrap();
    let (near, far) = (
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    );
    let _servers = [serve(&near), serve(&far)];
    let service = cluster
        .service("web", 80, &[&near, &far], &json!({}))
        .unwrap();
    for to in at(service) {
        await_answer(&cluster, &client, to);
        for _ in 0..10 {
            ask_all(&client, to);
        }
        await_answer(&cluster, cluster.node(0), to);
        ask_all(cluster.node(0), to);
    }
}

/// The backend's ICMP port-unreachable names the pod; the client must see it as the Service's.
fn a_closed_port_behind_a_service_refuses(mode: Mode) {
    let cluster = Cluster::start("icmp", &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    for (index, name) in [(0, "near"), (1, "far")] {
        let pod = cluster.pod(index, name).unwrap();
        let servers = serve(&pod);
        let number = 80 + u8::try_from(index).unwrap();
        let service = cluster.service(name, number, &[&pod], &json!({})).unwrap();
        for to in at(service) {
            await_answer(&cluster, &client, to);
        }
        drop(servers);
        for to in at(service) {
            let tcp = ask_tcp(&client, to).unwrap_err();
            assert_eq!(tcp.kind(), ErrorKind::ConnectionRefused, "TCP {to}");
            let udp = ask_udp_connected(&client, to, b"?").unwrap_err();
            assert_eq!(udp.kind(), ErrorKind::ConnectionRefused, "UDP {to}");
        }
    }
}

/// Sends `count` bytes and checks that the same come back.
fn echo(place: &Place, to: SocketAddr, count: usize) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let stream = place.connect(to).unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .unwrap();
    let sent: Vec<u8> = (0..count).map(|number| (number % 251) as u8).collect();
    let mut reader = BufReader::new(&stream);
    let mut name = String::new();
    reader.read_line(&mut name).unwrap();
    let mut received = vec![0; count];
    std::thread::scope(|scope| {
        scope.spawn(|| (&stream).write_all(&sent).unwrap());
        reader.read_exact(&mut received).unwrap();
    });
    assert!(received == sent, "what came back from {to} differs");
}
