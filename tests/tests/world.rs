//! The fixtures themselves: nodes and pods reach each other, sockets belong where they say, nothing stays.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use proxy_agent::datapath::Table as _;
use proxy_common::endpoints::Endpoint;
use serde_json::{Value, json};
use weir_tests::{
    datapath::reader,
    world::{Cluster, Place, Server, World, ask_tcp, ask_udp, ask_udp_connected},
};

#[test]
fn plain_pods_reach_each_other_across_nodes() {
    let world = World::new("plain").unwrap();
    let (a, b) = (world.node("a").unwrap(), world.node("b").unwrap());
    a.route_to(&b).unwrap();
    b.route_to(&a).unwrap();
    let client = a.plain_pod("client").unwrap();
    for server in [a.plain_pod("near").unwrap(), b.plain_pod("far").unwrap()] {
        for (at, from) in server.at(8080).into_iter().zip(client.addresses()) {
            let tcp = Server::tcp(&server, at, server.name()).unwrap();
            let udp = Server::udp(&server, at, server.name()).unwrap();
            let answer = ask_tcp(&client, at).unwrap();
            assert_eq!(answer.name, server.name());
            assert_eq!(answer.local.ip(), from);
            assert_eq!(tcp.peers(), [answer.local]);
            let answer = ask_udp(&client, at, b"question").unwrap();
            assert_eq!(
                (answer.name.as_str(), answer.payload.as_slice()),
                (server.name(), &b"question"[..])
            );
            ask_udp_connected(&client, at, b"question").unwrap();
            assert_eq!(udp.peers().len(), 2);
        }
    }
}

#[test]
fn sockets_belong_to_the_cgroup_of_their_place() {
    let world = World::new("cgroup").unwrap();
    let node = world.node("a").unwrap();
    let pod = node.plain_pod("x").unwrap();
    let listener = pod.listen(pod.at(80)[0]).unwrap();
    assert_eq!(listener.local_addr().unwrap(), pod.at(80)[0]);
    assert!(pod.cgroup().path().starts_with(node.cgroup_root().path()));
    assert_eq!(pod.cgroup().processes().len(), 1, "the socket maker");
}

#[test]
fn a_closed_port_refuses_and_the_reason_is_kept() {
    let world = World::new("refuse").unwrap();
    let node = world.node("a").unwrap();
    let pod = node.plain_pod("x").unwrap();
    for at in pod.at(81) {
        let error = ask_tcp(&node, at).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

/// What is said of what a test leaves behind.
fn leaks(test: impl FnOnce()) -> String {
    let failed = catch_unwind(AssertUnwindSafe(test)).unwrap_err();
    *failed.downcast::<String>().unwrap()
}

#[test]
fn a_process_that_is_left_fails_its_test() {
    for outside in [false, true] {
        let said = leaks(|| {
            let world = World::new("left").unwrap();
            let node = world.node("a").unwrap();
            let place: &Place = if outside { world.outside() } else { &node };
            place.spawn("sleep", &["1000"]).unwrap().leave();
        });
        assert!(said.contains("processes are left: "), "{said}");
        assert!(said.contains(" sleep 1000"), "{said}");
    }
}

#[test]
fn what_is_left_of_a_pod_fails_its_test() {
    let says = |leak: &dyn Fn(&Cluster)| {
        leaks(|| {
            let cluster = Cluster::start("left", &["a"], &["--map-size", "small"]).unwrap();
            drop(cluster.pod(0, "x").unwrap());
            leak(&cluster);
        })
    };
    let said = says(&|cluster| {
        let link = "link add weir00000000000 type veth peer name stray\n";
        cluster.node(0).batch(link).unwrap();
    });
    assert!(
        said.contains("interfaces of pods are left: weir00000000000"),
        "{said}"
    );
    let said = says(&|cluster| {
        let reader = reader(cluster.node(0)).unwrap();
        let mut endpoints = reader.maps().endpoints.clone();
        let stray = Endpoint {
            ifindex: 77,
            address4: 0,
            address6: [0; 4],
            pod_mac: [0; 6],
            host_mac: [0; 6],
            flags: 0,
        };
        // An agent that runs takes it away as soon as it sees it.
        let agent = cluster.agent(0).id().unwrap().cast_signed();
        kill(Pid::from_raw(agent), Signal::SIGSTOP).unwrap();
        endpoints.set(&77, &stray).unwrap();
    });
    assert!(
        said.contains("map entries of pods are left: 1 in ENDPOINTS"),
        "{said}"
    );
    let said = says(&|cluster| {
        let path = cluster.node(0).file("/run/weir/ipam.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        state["leases"] = json!([{ "containerId": "x", "ifname": "eth0", "ips": ["10.244.1.9"] }]);
        fs::write(&path, state.to_string()).unwrap();
    });
    assert!(
        said.contains("leases are left: ") && said.contains("10.244.1.9"),
        "{said}"
    );
    let said = says(&|cluster| {
        let made = "mkdir -p /sys/fs/bpf/weir/default/v0/links/from_pod-77";
        cluster.node(0).run(&["sh", "-c", made]).unwrap();
    });
    assert!(said.contains("pinned links of pods are left: "), "{said}");
}

#[test]
fn a_node_has_its_own_bpffs_and_run() {
    let world = World::new("mounts").unwrap();
    let (a, b) = (world.node("a").unwrap(), world.node("b").unwrap());
    for node in [&a, &b] {
        assert_eq!(node.run(&["hostname"]).unwrap().trim(), node.name());
        let seen = node.run(&["ls", "/sys/fs/bpf", "/run"]).unwrap();
        assert!(!seen.contains("weir"), "not its own: {seen}");
        node.run(&["mkdir", "/sys/fs/bpf/weir", "/run/weir"])
            .unwrap();
    }
}
