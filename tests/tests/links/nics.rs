//! NICs, `macvlan`s, bridges with containers of no cluster.

use std::net::SocketAddr;

use weir_tests::{
    in_every_mode,
    modes::Mode,
    world::{Network, Server, Talk, ask_tcp},
};

use super::lab::{Lab, NODE_PORT};

in_every_mode![
    a_second_nic_serves_as_the_first,
    a_bridge_of_containers_serves
];

fn a_second_nic_serves_as_the_first(mode: Mode) {
    let lab = Lab::start("nic", mode);
    let outside = lab.cluster.world().outside();
    lab.serves(outside, lab.node().addresses());
    let second = lab.node().nic("eth1", 1).unwrap();
    lab.serves(outside, second);
    let network = Network { number: 2 };
    lab.node()
        .batch("link add mac0 link eth1 type macvlan mode bridge\nlink set mac0 up\n")
        .unwrap();
    outside
        .batch(&format!(
            "addr add {}/24 dev br1\naddr add {}/64 dev br1 nodad\n",
            network.fabric()[0],
            network.fabric()[1]
        ))
        .unwrap();
    let third = lab.node().address("mac0", network).unwrap();
    lab.serves(outside, third);
    // A connection that lives goes on by either.
    for ip in second.into_iter().chain(third) {
        let mut talk = Talk::open(outside, SocketAddr::new(ip, NODE_PORT)).unwrap();
        talk.stream(1 << 18).unwrap();
    }
}

fn a_bridge_of_containers_serves(mode: Mode) {
    let lab = Lab::start("bridge", mode);
    let container = lab.node().container("box", "docker0", 5).unwrap();
    let gateways = Network { number: 5 }.member(1);
    lab.serves(&container, gateways);
    lab.serves_at(&container, lab.node().addresses());
    // And the container is reached from a pod of the node.
    for at in container.at(7000) {
        let _server = Server::tcp(&container, at, "box").unwrap();
        assert_eq!(ask_tcp(&lab.near, at).unwrap().name, "box");
    }
}

/// The client's own address is on the first network, it asks by the second: the way back is by the first.
#[test]
fn asked_by_one_link_it_answers_by_the_other() {
    let lab = Lab::start("asymmetric", &[]);
    let outside = lab.cluster.world().outside();
    let second = lab.node().nic("eth1", 1).unwrap();
    lab.serves(outside, second);
    let from = Network { number: 0 }.fabric();
    // Also with a backend in the host's own network.
    let servers: Vec<Server> = ["0.0.0.0:7000", "[::]:7000"]
        .iter()
        .map(|at| Server::tcp(lab.node(), at.parse().unwrap(), "host").unwrap())
        .collect();
    for (number, (from, to)) in from.into_iter().zip(second).enumerate() {
        for (port, round) in [(NODE_PORT, 1), (NODE_PORT, 2), (7000, 3)] {
            let from = SocketAddr::new(from, 40_000 + round + 10 * number as u16);
            let to = SocketAddr::new(to, port);
            let talk = Talk::open_from(outside, from, to);
            let mut talk = talk.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
            talk.echo("there and back").unwrap();
        }
    }
    drop(servers);
}
