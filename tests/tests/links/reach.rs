//! Ways to other nodes are the routing table's answers.

use std::net::SocketAddr;

use weir_tests::world::{Agent, Manifests, Node, Plugin, Pod, Server, World, ask_tcp, until};

/// Addresses without a network: /32 and /128, the network by a route.
fn without_prefix(node: &Node) {
    let (v4, v6) = (node.ipv4(), node.ipv6());
    node.batch(&format!(
        "addr flush dev eth0 scope global\n\
         addr add {v4}/32 dev eth0\n\
         addr add {v6}/128 dev eth0 nodad\n\
         route replace 172.30.0.0/24 dev eth0 scope link src {v4}\n\
         route replace fd30::/64 dev eth0\n"
    ))
    .unwrap();
}

struct Side {
    pod: Pod,
    _servers: Vec<Server>,
    _agent: Agent,
}

impl Side {
    fn start(node: &Node, manifests: &Manifests, name: &str) -> Self {
        let agent = Agent::start(node, manifests, &["--map-size", "small"]).unwrap();
        let labels = serde_json::json!({ "app": name });
        manifests.pending_pod(node, name, &labels).unwrap();
        let pod = node.pod(&Plugin::weir().unwrap(), name).unwrap();
        manifests.running_pod(&pod, &labels).unwrap();
        let servers = pod.at(8080).map(|at| Server::tcp(&pod, at, name).unwrap());
        Self {
            pod,
            _servers: servers.into(),
            _agent: agent,
        }
    }
}

fn reach_each_other(sides: [&Side; 2]) {
    let [one, other] = sides;
    for (from, to) in [(one, other), (other, one)] {
        for at in to.pod.at(8080) {
            until(&format!("{at} from {}", from.pod.name()), PATIENCE, || {
                Ok(ask_tcp(&from.pod, at).ok())
            })
            .unwrap();
        }
    }
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);

#[test]
fn host_addresses_without_a_network_are_reached() {
    let world = World::new("reach").unwrap();
    let (a, b) = (world.node("a").unwrap(), world.node("b").unwrap());
    let manifests = Manifests::new().unwrap();
    for node in [&a, &b] {
        without_prefix(node);
        manifests.node(node).unwrap();
    }
    let one = Side::start(&a, &manifests, "one");
    let other = Side::start(&b, &manifests, "other");
    reach_each_other([&one, &other]);
}

/// The kernel's answer changes from one NIC to another, and the ways with it.
#[test]
fn pods_are_reached_by_whatever_link_leads_to_a_node() {
    let world = World::new("reach-nic").unwrap();
    let (a, b) = (world.node("a").unwrap(), world.node("b").unwrap());
    let manifests = Manifests::new().unwrap();
    for node in [&a, &b] {
        node.nic("eth1", 1).unwrap();
        manifests.node(node).unwrap();
    }
    let one = Side::start(&a, &manifests, "one");
    let other = Side::start(&b, &manifests, "other");
    reach_each_other([&one, &other]);
    for (node, peer) in [(&a, &b), (&b, &a)] {
        node.batch(&format!(
            "route add {}/32 dev eth1\nroute add {}/128 dev eth1\n",
            peer.ipv4(),
            peer.ipv6()
        ))
        .unwrap();
        // The peer answers for its address on the other NIC, as hosts do; IPv6 hosts do not.
        let mac = peer.run(&["cat", "/sys/class/net/eth1/address"]).unwrap();
        node.batch(&format!(
            "neigh replace {} lladdr {} dev eth1 nud permanent\n",
            peer.ipv6(),
            mac.trim()
        ))
        .unwrap();
        until("routes by eth1", PATIENCE, || {
            let routes = node.run(&["ip", "route", "show", "proto", "87"])?
                + &node.run(&["ip", "-6", "route", "show", "proto", "87"])?;
            let by = routes.lines().filter(|line| line.contains("dev eth1"));
            Ok((by.count() == 2).then_some(()))
        })
        .unwrap();
    }
    reach_each_other([&one, &other]);
    for at in other.pod.at(8080) {
        assert_eq!(
            ask_tcp(&a, SocketAddr::new(at.ip(), 8080)).unwrap().name,
            "other"
        );
    }
}
