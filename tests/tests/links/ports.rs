//! Source ports of translated connections beside those of the host's own sockets.

use std::net::SocketAddr;

use weir_tests::{
    served::serve,
    world::{Cluster, Place, Talk, cluster::POD_PORT},
};

use super::lab::{ALL, Lab, NODE_PORT};

/// Few enough that sockets and translation are bound to meet.
const RANGE: &str = "20000-20100";
const COUNT: usize = 40;

/// All connections still talk.
fn all_talk(talks: &mut [Talk], whose: &str) {
    for (number, talk) in talks.iter_mut().enumerate() {
        talk.echo("still here")
            .unwrap_or_else(|error| panic!("{whose} {number}: {error}"));
    }
}

#[test]
fn translation_takes_no_port_of_a_live_socket() {
    let flags = [&["--map-size", "small", "--source-ports", RANGE], &ALL[..]].concat();
    let cluster = Cluster::start("ports", &["a", "b"], &flags).unwrap();
    let node = cluster.node(0);
    node.run(&[
        "sh",
        "-c",
        "echo 20000 20100 >/proc/sys/net/ipv4/ip_local_port_range",
    ])
    .unwrap();
    let far = cluster.pod(1, "far").unwrap();
    let _servers = serve(&far).unwrap();
    let spec = super::lab::load_balancer();
    cluster.service("web", 80, &[&far], &spec).unwrap();
    let outside = cluster.world().outside();
    let addresses = node.addresses();
    for (node_address, pod) in addresses.into_iter().zip(far.at(POD_PORT)) {
        let to = SocketAddr::new(node_address, NODE_PORT);
        Lab::await_tcp(outside, to);
        let talks = |place: &Place, to: SocketAddr| -> Vec<Talk> {
            let open = |number| {
                let talk = Talk::open(place, to);
                talk.unwrap_or_else(|error| panic!("{to} {number}: {error}"))
            };
            (0..COUNT).map(open).collect()
        };
        let mut own = talks(node, pod);
        let mut translated = talks(outside, to);
        all_talk(&mut translated, "translated");
        all_talk(&mut own, "the host's own");
    }
    let agent = cluster.agent(0);
    cluster
        .eventually("a word about ports that meet", || {
            let (_, text) = agent.proxyctl_verdict(&["status"]).unwrap();
            text.contains("node.sourcePorts 20000-20100 meets")
                .then_some(())
        })
        .unwrap();
}
