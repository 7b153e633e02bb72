//! A client that uses one port of its own for connections to two Services with the same backend, with real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, net::SocketAddr};

use weir_tests::{
    modes::Mode,
    served::{await_answer, near_then_far, service},
    world::{Cluster, Server, Talk, cluster::SERVICE_PORT},
};

const PORT: u16 = 4000;

fn both_connections_live(name: &str, mode: Mode) {
    let cluster = Cluster::start(name, &["a", "b"], mode).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    for (served, number) in near_then_far(&cluster).zip(90..) {
        let served = served.unwrap();
        let other = format!("{}-too", served.pod.name());
        let too = service(&cluster, &other, number, &[&served.pod]).unwrap();
        for (one, two) in served.to.into_iter().zip(too) {
            assert_eq!(one.port(), SERVICE_PORT);
            await_answer(&cluster, &client, two).unwrap();
            let mut own = client.addresses().into_iter();
            let own = own.find(|ip| ip.is_ipv4() == one.is_ipv4());
            let from: SocketAddr = (own.unwrap(), PORT).into();
            let mut talks = [one, two].map(|to| Talk::open_from(&client, from, to).unwrap());
            for _ in 0..3 {
                for talk in &mut talks {
                    assert_eq!(talk.name(), served.pod.name());
                    talk.echo("whose answer is this?").unwrap();
                }
            }
            let peers = served.servers.iter().flat_map(Server::peers);
            let seen: BTreeSet<_> = peers.filter(|peer| peer.ip() == from.ip()).collect();
            assert!(seen.contains(&from), "{seen:?}");
        }
    }
}

#[test]
fn packet_by_packet() {
    both_connections_live("one-port", &["--socket-balancing", "false"]);
}

#[test]
fn through_the_hosts_stack() {
    let mode = &["--socket-balancing", "false", "--forwarding", "stack"];
    both_connections_live("one-port-stack", mode);
}
