//! `hostPort`s between real sockets: who reaches them, which of them serves, and how long.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use weir_tests::{
    in_every_mode,
    modes::Mode,
    served::{ask_all, await_answer, serve},
    world::{
        Cluster, Place, Server, ask_tcp, ask_udp, ask_udp_connected, cluster::POD_PORT, until,
    },
};

in_every_mode![
    everybody_reaches_it_and_is_seen,
    a_client_that_was_early_is_served_once_the_pod_is_there,
    what_the_runtime_does_not_tell_is_taken_from_the_pod,
];

const PORT: u16 = 8000;
const LOOPBACKS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Mappings of a port to that of the pods.
fn ports(mappings: &[(&str, &str)]) -> Value {
    let mapping = |(protocol, host_ip): &(&str, &str)| json!({ "HostPort": PORT, "ContainerPort": POD_PORT, "Protocol": protocol, "HostIP": host_ip });
    mappings.iter().map(mapping).collect()
}

fn at(addresses: [IpAddr; 2]) -> [SocketAddr; 2] {
    addresses.map(|address| SocketAddr::new(address, PORT))
}

fn everybody_reaches_it_and_is_seen(mode: Mode) {
    let cluster = Cluster::start("hostport", &["a", "b"], mode).unwrap();
    let both = ports(&[("tcp", ""), ("udp", "")]);
    let web = cluster.pod_with_ports(0, "web", &both).unwrap();
    let (near, far) = (
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    );
    let servers = serve(&web).unwrap();
    let (outside, other_node) = (cluster.world().outside(), cluster.node(1));
    for place in [&*near, &*far, outside, &**other_node, &*web] {
        for to in at(cluster.node(0).addresses()) {
            await_answer(&cluster, place, to).unwrap();
            assert_eq!(ask_all(place, to), ["web"; 3]);
        }
    }
    let seen: Vec<IpAddr> = servers
        .iter()
        .flat_map(Server::peers)
        .map(|peer| peer.ip())
        .collect();
    let clients = [near.addresses(), far.addresses(), other_node.addresses()];
    for client in clients.as_flattened() {
        assert!(seen.contains(client), "{client} not among {seen:?}");
    }
    // Another node has no such port.
    for to in at(other_node.addresses()) {
        let error = ask_tcp(&near, to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{to}");
    }
}

fn a_client_that_was_early_is_served_once_the_pod_is_there(mode: Mode) {
    let cluster = Cluster::start("early", &["a"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let outside = cluster.world().outside();
    let sockets: Vec<_> = at(cluster.node(0).addresses())
        .into_iter()
        .flat_map(|to| [(&*client, to), (outside, to)])
        .map(|(place, to)| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = place.udp(any.parse().unwrap()).unwrap();
            let wait = Some(Duration::from_millis(200));
            socket.set_read_timeout(wait).unwrap();
            (socket, to)
        })
        .collect();
    // Nobody answers, but the flow is known from now on.
    for (socket, to) in &sockets {
        for _ in 0..3 {
            socket.send_to(b"early", to).unwrap();
        }
    }
    let web = cluster
        .pod_with_ports(0, "web", &ports(&[("udp", "")]))
        .unwrap();
    let _servers = serve(&web).unwrap();
    for (socket, to) in &sockets {
        let mut buffer = [0; 64];
        let answered = until("an answer", Duration::from_secs(10), || {
            socket.send_to(b"again", to)?;
            Ok(socket.recv_from(&mut buffer).ok())
        });
        assert_eq!(answered.unwrap().1, *to);
    }
}

#[test]
fn processes_of_the_node_use_every_address_of_it() {
    let cluster = Cluster::start("local", &["a"], &[]).unwrap();
    let both = ports(&[("tcp", ""), ("udp", "")]);
    let web = cluster.pod_with_ports(0, "web", &both).unwrap();
    let _servers = serve(&web).unwrap();
    let node = cluster.node(0);
    for to in at(node.addresses()) {
        assert_eq!(ask_all(node, to), ["web"; 3]);
    }
    for to in at(LOOPBACKS) {
        assert_eq!(ask_all(node, to), ["web"; 3]);
    }
    let other = cluster.pod(0, "other").unwrap();
    for to in at(LOOPBACKS) {
        let error = ask_tcp(&other, to).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::ConnectionRefused,
            "a pod's loopback is its own"
        );
    }
}

#[test]
fn pods_share_a_port_by_address_and_protocol() {
    let cluster = Cluster::start("shared", &["a"], &[]).unwrap();
    let node = cluster.node(0);
    let internal = node.ipv4().to_string();
    let pods = [
        ("loopback", "tcp", "127.0.0.1"),
        ("internal", "tcp", internal.as_str()),
        ("datagrams", "udp", internal.as_str()),
    ];
    let pods = pods.map(|(name, protocol, ip)| {
        let mappings = ports(&[(protocol, ip)]);
        cluster.pod_with_ports(0, name, &mappings).unwrap()
    });
    let _servers: Vec<_> = pods.iter().map(|pod| serve(pod).unwrap()).collect();
    let (loopback, internal) = (at(LOOPBACKS)[0], at(node.addresses())[0]);
    assert_eq!(ask_tcp(node, loopback).unwrap().name, "loopback");
    assert_eq!(ask_tcp(node, internal).unwrap().name, "internal");
    assert_eq!(ask_udp(node, internal, b"?").unwrap().name, "datagrams");
    let outside = cluster.world().outside();
    await_answer_of(&cluster, outside, internal, "internal");
    assert_eq!(ask_udp(outside, internal, b"?").unwrap().name, "datagrams");
    assert!(ask_udp_connected(node, loopback, b"?").is_err());
    let table = cluster.agent(0).proxyctl(&["dump", "services"]).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let address = node.ipv4();
    let expected = [
        ("datagrams", address, "UDP", pods[2].ipv4()),
        ("internal", address, "TCP", pods[1].ipv4()),
        ("loopback", Ipv4Addr::LOCALHOST, "TCP", pods[0].ipv4()),
    ];
    for (row, (pod, at, protocol, to)) in rows[1..].iter().zip(expected) {
        let name = format!("pod/default/{pod}:{at}:{PORT}");
        let frontend = format!("{at}:{PORT}/{protocol}");
        let backend = format!("{to}:{POD_PORT}*");
        assert_eq!(
            *row,
            [&name, "HostPort", &frontend, &backend, "same", "-"],
            "{table}"
        );
    }
    assert_eq!(rows.len(), 4, "{table}");
    let words = ["service", "trace", "192.0.2.200", &internal.to_string()];
    let trace = cluster.agent(0).proxyctl(&words).unwrap();
    let found = format!("{internal}/TCP, hostPort of pod/default/internal:{internal}");
    assert!(trace.contains(&found), "{trace}");
    assert!(
        trace.contains(&format!("goes to {}:{POD_PORT}", pods[1].ipv4())),
        "{trace}"
    );
}

fn await_answer_of(cluster: &Cluster, place: &Place, to: SocketAddr, name: &str) {
    cluster
        .eventually(&format!("answer of {name} at {to}"), || {
            (ask_tcp(place, to).ok()?.name == name).then_some(())
        })
        .unwrap();
}

#[test]
fn a_restart_keeps_what_is_wired_and_nothing_stays_of_what_is_not() {
    let mut cluster = Cluster::start("restart", &["a"], &[]).unwrap();
    let both = ports(&[("tcp", ""), ("udp", "")]);
    let stays = cluster.pod_with_ports(0, "stays", &both).unwrap();
    let other = json!([{ "HostPort": PORT + 1, "ContainerPort": POD_PORT, "Protocol": "tcp" }]);
    let goes = cluster.pod_with_ports(0, "goes", &other).unwrap();
    let servers = [serve(&stays).unwrap(), serve(&goes).unwrap()];
    let node = cluster.node(0).clone();
    let [to, _] = at(node.addresses());
    let gone = SocketAddr::new(to.ip(), PORT + 1);
    assert_eq!(ask_tcp(&node, to).unwrap().name, "stays");
    assert_eq!(ask_tcp(&node, gone).unwrap().name, "goes");
    let rows = |cluster: &Cluster| {
        let words = ["dump", "services", "-o", "json"];
        let text = cluster.agent(0).proxyctl(&words).unwrap();
        let list: Value = serde_json::from_str(&text).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    let before: Vec<Value> = rows(&cluster)
        .into_iter()
        .filter(|row| row["service"].as_str().unwrap().contains("stays"))
        .collect();
    assert_eq!(before.len(), 4, "two protocols in two families");
    cluster.agent_mut(0).crash().unwrap();
    assert_eq!(ask_all(&node, to), ["stays"; 3], "the agent is down");
    let [of_stays, of_goes] = servers;
    drop(of_goes);
    drop(goes);
    cluster.agent_mut(0).restart().unwrap();
    assert_eq!(ask_all(&node, to), ["stays"; 3]);
    assert_eq!(rows(&cluster), before, "same ids, and nothing else");
    let error = ask_tcp(&node, gone).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    drop((of_stays, stays));
    cluster
        .eventually("empty maps", || rows(&cluster).is_empty().then_some(()))
        .unwrap();
    let backends = ["dump", "backends", "-o", "json"];
    cluster
        .eventually("no backends", || {
            let text = cluster.agent(0).proxyctl(&backends).ok()?;
            let list: Value = serde_json::from_str(&text).ok()?;
            list["items"].as_array()?.is_empty().then_some(())
        })
        .unwrap();
}

/// CRI-O tells the plugin no ports.
fn what_the_runtime_does_not_tell_is_taken_from_the_pod(mode: Mode) {
    let mut cluster = Cluster::start("hostport-spec", &["a"], mode).unwrap();
    let spec = json!([
        { "containerPort": POD_PORT, "hostPort": PORT, "protocol": "TCP" },
        { "containerPort": POD_PORT, "hostPort": PORT, "protocol": "UDP" },
        { "containerPort": 9, "name": "other" },
    ]);
    let web = cluster.pod_of_spec(0, "web", &spec, None).unwrap();
    let _servers = serve(&web).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let addresses = at(cluster.node(0).addresses());
    let served = |cluster: &Cluster| {
        for to in addresses {
            await_answer(cluster, &client, to).unwrap();
            assert_eq!(ask_all(&client, to), ["web"; 3]);
        }
    };
    served(&cluster);
    // What the plugin recorded is what the next agent goes by.
    let records = cluster.node(0).file("/run/weir/att");
    let texts = fs::read_dir(records).unwrap();
    let texts: Vec<String> = texts
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let port = format!("\"hostPort\":{PORT}");
    assert_eq!(
        texts.iter().filter(|text| text.contains(&port)).count(),
        1,
        "{texts:?}"
    );
    cluster.agent_mut(0).crash().unwrap();
    served(&cluster);
    cluster.agent_mut(0).restart().unwrap();
    served(&cluster);

    // A runtime that tells them is believed: only what it tells, and once.
    let told = json!([{ "HostPort": PORT + 1, "ContainerPort": POD_PORT, "Protocol": "tcp", "HostIP": "" }]);
    let both = json!([
        { "containerPort": POD_PORT, "hostPort": PORT + 1, "protocol": "TCP" },
        { "containerPort": POD_PORT, "hostPort": PORT + 2, "protocol": "TCP" },
    ]);
    let second = cluster
        .pod_of_spec(0, "second", &both, Some(&told))
        .unwrap();
    let _servers = serve(&second).unwrap();
    for address in cluster.node(0).addresses() {
        let at = |port| SocketAddr::new(address, port);
        assert_eq!(ask_tcp(&client, at(PORT + 1)).unwrap().name, "second");
        let error = ask_tcp(&client, at(PORT + 2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    served(&cluster);
}
