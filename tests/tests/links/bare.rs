//! Links without an Ethernet header.

use std::net::SocketAddr;

use weir_tests::{
    in_every_mode,
    modes::Mode,
    world::{Agent, Manifests, Network, Place, Server, Talk, Tun, World, ask_tcp, ask_udp},
};

use super::lab::Lab;

in_every_mode![a_tun_device_serves_as_an_ethernet];

/// Brings it up on both sides, with the addresses of a network.
fn up(node: &weir_tests::world::Node, outside: &Place, name: &str, network: Network) {
    let [v4, v6] = network.fabric();
    outside
        .batch(&format!(
            "addr add {v4}/24 dev {name}\naddr add {v6}/64 dev {name} nodad\nlink set {name} up\n"
        ))
        .unwrap();
    node.address(name, network).unwrap();
    node.batch(&format!("link set {name} up\n")).unwrap();
}

fn a_tun_device_serves_as_an_ethernet(mode: Mode) {
    let lab = Lab::start("tun", mode);
    let outside = lab.cluster.world().outside();
    let _tun = Tun::between("tun0", [lab.node(), outside]).unwrap();
    let network = Network { number: 7 };
    up(lab.node(), outside, "tun0", network);
    let ours = network.member(11);
    lab.serves(outside, ours);
    lab.says("tun0 (no Ethernet)");
    // Pods are reached by it, and reach out by it.
    let pods = lab.near.addresses();
    for (pod, via) in pods.into_iter().zip(ours) {
        let family = if pod.is_ipv4() { "-4" } else { "-6" };
        let route = [
            "ip",
            family,
            "route",
            "replace",
            &pod.to_string(),
            "via",
            &via.to_string(),
        ];
        outside.run(&route).unwrap();
        let to = SocketAddr::new(pod, 8080);
        let mut talk = Talk::open(outside, to).unwrap();
        assert_eq!(talk.name(), "near");
        talk.stream(1 << 18).unwrap();
    }
    for (ip, own) in network.fabric().into_iter().zip(ours) {
        let at = SocketAddr::new(ip, 7000);
        let server = Server::tcp(outside, at, "outside").unwrap();
        assert_eq!(ask_tcp(&lab.near, at).unwrap().name, "outside");
        let peers = server.peers();
        assert!(peers.iter().all(|peer| peer.ip() == own), "{peers:?}");
    }
}

/// All that the host does by such a link goes on, before, with and after the agent.
#[test]
fn the_hosts_own_traffic_by_a_tun_device_is_left_alone() {
    let world = World::new("tun-host").unwrap();
    let node = world.node("a").unwrap();
    let outside = world.outside();
    let _tun = Tun::between("tun0", [&node, outside]).unwrap();
    let network = Network { number: 7 };
    up(&node, outside, "tun0", network);
    let (here, there) = (network.member(11), network.fabric());
    let servers: Vec<Server> = here
        .into_iter()
        .map(|ip| (&*node, SocketAddr::new(ip, 7000)))
        .chain(
            there
                .into_iter()
                .map(|ip| (outside, SocketAddr::new(ip, 7000))),
        )
        .flat_map(|(place, at)| {
            [
                Server::tcp(place, at, "x").unwrap(),
                Server::udp(place, at, "x").unwrap(),
            ]
        })
        .collect();
    let works = |when: &str| {
        for (place, to) in [(outside, here), (&*node, there)] {
            for ip in to {
                let to = SocketAddr::new(ip, 7000);
                let asked = Talk::open(place, to).and_then(|mut talk| talk.stream(1 << 16));
                asked.unwrap_or_else(|error| panic!("{when}: TCP {to}: {error}"));
                // Its fragments, too.
                let large = vec![7; 8000];
                let asked = ask_udp(place, to, &large);
                asked.unwrap_or_else(|error| panic!("{when}: UDP {to}: {error}"));
            }
        }
    };
    works("before");
    let manifests = Manifests::new().unwrap();
    let flags = ["--map-size", "small", "--link", "tun*"];
    let mut agent = Agent::start(&node, &manifests, &flags).unwrap();
    works("with the agent");
    let (_, status) = agent.proxyctl_verdict(&["status"]).unwrap();
    let line = status.lines().find(|line| line.starts_with("Links"));
    assert!(line.unwrap().ends_with(" tun0 (no Ethernet)"), "{status}");
    agent.terminate().unwrap();
    works("after the agent");
    drop(servers);
}
