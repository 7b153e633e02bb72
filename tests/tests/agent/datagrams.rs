//! A flow of datagrams follows its Service, and stays with a backend that terminates while it serves.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use serde_json::{Value, json};
use weir_tests::world::{Cluster, Pod, Server, ask_udp, cluster::POD_PORT, until};

use super::fixture::PATIENCE;

/// Who answers this socket.
fn answered(socket: &UdpSocket, to: SocketAddr) -> Option<String> {
    socket.send_to(b"x", to).ok()?;
    let mut buffer = [0; 64];
    let (count, _) = socket.recv_from(&mut buffer).ok()?;
    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
    text.lines().next().map(str::to_owned)
}

/// Makes these the IPv4 endpoints of the Service, as ready ones or such as terminate.
fn endpoints(cluster: &Cluster, all: &[(&Pod, bool)]) {
    let listed: Vec<Value> = all
        .iter()
        .map(|(pod, ready)| {
            json!({
                "addresses": [pod.ipv4()],
                "conditions": { "ready": ready, "serving": true, "terminating": !ready },
                "nodeName": pod.node().name(),
            })
        })
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "dns-ipv4",
            "namespace": "default",
            "labels": { "kubernetes.io/service-name": "dns" },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "udp", "protocol": "UDP", "port": POD_PORT }],
        "endpoints": listed,
    });
    let manifests = cluster.manifests();
    manifests
        .apply_objects("endpoints-dns.yaml", &[slice])
        .unwrap();
}

#[test]
fn datagrams_stay_with_who_serves_and_leave_who_does_not() {
    let flags = ["--map-size", "small"];
    let cluster = Cluster::start("agent-datagrams", &["a"], &flags).unwrap();
    let [client, first, second] =
        ["client", "first", "second"].map(|name| cluster.pod(0, name).unwrap());
    let _servers =
        [&first, &second].map(|pod| Server::udp(pod, pod.at(POD_PORT)[0], pod.name()).unwrap());
    let [vip, _] = cluster.service("dns", 12, &[&first], &json!({})).unwrap();
    let to = SocketAddr::new(vip, 80);
    let socket = client.udp((client.ipv4(), 0).into()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let becomes = |name: &str| {
        until(&format!("{name} to answer"), PATIENCE, || {
            Ok((answered(&socket, to).as_deref() == Some(name)).then_some(()))
        })
        .unwrap();
    };
    becomes("first");

    endpoints(&cluster, &[(&first, false), (&second, true)]);
    until("others to go to the second", PATIENCE, || {
        let answer = ask_udp(&client, to, b"x")?;
        Ok((answer.name == "second").then_some(()))
    })
    .unwrap();
    for _ in 0..5 {
        assert_eq!(
            answered(&socket, to).as_deref(),
            Some("first"),
            "it serves on"
        );
        assert_eq!(ask_udp(&client, to, b"x").unwrap().name, "second");
    }

    endpoints(&cluster, &[(&second, true)]);
    becomes("second");
    // Somebody new changes nothing for who has begun.
    endpoints(&cluster, &[(&second, true), (&first, true)]);
    for _ in 0..20 {
        assert_eq!(answered(&socket, to).as_deref(), Some("second"));
    }
}
