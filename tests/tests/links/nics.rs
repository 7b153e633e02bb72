//! NICs, `macvlan`s, bridges with containers of no cluster.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use serde_json::json;
use weir_tests::{
    in_every_mode,
    modes::Mode,
    world::{
        Network, Place, Server, Talk, ask_tcp,
        cluster::{POD_PORT, SERVICE_PORT},
    },
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
    for (at, own) in container.at(7000).into_iter().zip(gateways) {
        let server = Server::tcp(&container, at, "box").unwrap();
        assert_eq!(ask_tcp(&lab.near, at).unwrap().name, "box");
        let peers = server.peers();
        assert!(peers.iter().all(|peer| peer.ip() == own), "{peers:?}");
    }
}

/// Asks from an address of a place, by each port of the node's addresses; who has answered.
fn ask_from(place: &Place, from: [IpAddr; 2], to: [IpAddr; 2], port: u16) -> BTreeSet<String> {
    let pairs = from.into_iter().zip(to);
    let asked = pairs.flat_map(|(from, to)| {
        (0..12).map(move |round| {
            let from = SocketAddr::new(from, 40_000 + 100 * (port % 10) + round);
            let to = SocketAddr::new(to, port);
            let talk = Talk::open_from(place, from, to);
            let mut talk = talk.unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
            talk.echo("there and back").unwrap();
            talk.name().to_owned()
        })
    });
    asked.collect()
}

/// A Service whose backend is in the host's own network. It is bound to the addresses that its Service leads to: one
/// that listens on all of them answers datagrams from the address that the way back suggests, whoever translates.
fn host_network(lab: &Lab, node_port: u16) -> Vec<Server> {
    let at = lab
        .node()
        .addresses()
        .map(|ip| SocketAddr::new(ip, POD_PORT));
    let servers = at.into_iter().flat_map(|at| {
        [
            Server::tcp(lab.node(), at, "host").unwrap(),
            Server::udp(lab.node(), at, "host").unwrap(),
        ]
    });
    let servers = servers.collect();
    let port = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": node_port });
    let spec = json!({ "type": "NodePort", "ports": [port("tcp", "TCP"), port("udp", "UDP")] });
    lab.cluster.service("host", 81, &[], &spec).unwrap();
    let endpoint = (lab.node().addresses(), lab.node().name());
    lab.cluster.endpoints_at("host", &[endpoint]).unwrap();
    servers
}

/// The client's own address is on the first network, it asks by the second: the way back is by the first.
#[test]
fn asked_by_one_link_it_answers_by_the_other() {
    let lab = Lab::start("asymmetric", &[]);
    let outside = lab.cluster.world().outside();
    let second = lab.node().nic("eth1", 1).unwrap();
    let _servers = host_network(&lab, 30081);
    lab.serves(outside, second);
    for ip in second {
        lab.answers(outside, SocketAddr::new(ip, 30081), &["host"]);
    }
    let from = Network { number: 0 }.fabric();
    let answered = ask_from(outside, from, second, NODE_PORT);
    assert_eq!(answered.len(), 2, "{answered:?}");
    ask_from(outside, from, second, 30081);
}

/// What is beyond the routers is reached by either link.
#[test]
fn a_default_route_of_several_hops_serves() {
    let lab = Lab::start("multipath", &[]);
    let (node, outside) = (lab.node(), lab.cluster.world().outside());
    let second = node.nic("eth1", 1).unwrap();
    outside
        .batch("addr add 198.51.100.1/32 dev lo\naddr add 2001:db8:1::1/128 dev lo nodad\n")
        .unwrap();
    node.batch(
        "route replace default nexthop via 172.30.0.1 dev eth0 nexthop via 172.30.1.1 dev eth1\n",
    )
    .unwrap();
    node.batch("route replace ::/0 nexthop via fd30::1 dev eth0 nexthop via fd30:1::1 dev eth1\n")
        .unwrap();
    lab.serves(outside, second);
    let beyond = ["198.51.100.1", "2001:db8:1::1"].map(|ip| ip.parse().unwrap());
    for to in [node.addresses(), second] {
        let answered = ask_from(outside, beyond, to, NODE_PORT);
        assert_eq!(answered.len(), 2, "{answered:?}");
    }
}

/// As docker has them: in the agent's cgroup, behind a bridge, masqueraded on their way out.
#[test]
fn containers_that_the_host_masquerades_reach_services_and_the_world() {
    let lab = Lab::start("masquerade", &[]);
    let (node, outside) = (lab.node(), lab.cluster.world().outside());
    let container = node.container("box", "docker0", 5).unwrap();
    let rules = "table inet m { chain out { type nat hook postrouting priority srcnat; \
                 ip saddr 172.30.5.0/24 oifname != docker0 masquerade; ip6 saddr fd30:5::/64 oifname != docker0 masquerade; }; }";
    node.run_with_input(&["nft", "-f", "-"], rules).unwrap();
    lab.serves_at(&container, node.addresses());
    for (number, ip) in (Network { number: 0 }).fabric().into_iter().enumerate() {
        let at = SocketAddr::new(ip, 7000);
        let server = Server::tcp(outside, at, "outside").unwrap();
        assert_eq!(ask_tcp(&container, at).unwrap().name, "outside");
        let seen: Vec<IpAddr> = server.peers().iter().map(SocketAddr::ip).collect();
        assert_eq!(seen, [node.addresses()[number]]);
    }
}
