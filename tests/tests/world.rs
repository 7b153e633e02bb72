//! The fixtures themselves: nodes and pods reach each other, sockets belong where they say, nothing stays.

use weir_tests::world::{Server, World, ask_tcp, ask_udp, ask_udp_connected};

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
