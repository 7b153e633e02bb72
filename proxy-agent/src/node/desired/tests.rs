use std::sync::Arc;

use proxy_common::tunnel::{TUNNEL_NODE, TUNNEL_SEND};

use super::*;
use crate::config::NodeSettings;

fn node(name: &str, ips: &[&str], range: &str) -> (Arc<str>, Arc<Node>) {
    let node = Node {
        name: name.into(),
        internal_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
        pod_cidrs: vec![range.parse().unwrap()],
        ..Node::default()
    };
    (name.into(), Arc::new(node))
}

fn facts() -> Facts {
    let interface = |name: &str, index, mtu, addresses: &[&str]| Interface {
        name: name.into(),
        index,
        mtu,
        up: true,
        addresses: addresses
            .iter()
            .map(|net| net.parse::<IpNetwork>().unwrap().into())
            .collect(),
        ..Interface::default()
    };
    Facts {
        interfaces: vec![
            interface("eth0", 7, 1450, &["10.0.0.1/32", "10.1.1.1/32"]),
            interface("eth1", 8, 1400, &["10.8.0.1/24"]),
            interface("weir_x", 9, 9000, &[]),
        ],
        ..Facts::default()
    }
}

/// What the kernel would say: 10.0.0.0/24 is on the link 7 by a route, 10.8.0.0/24 on 8.
fn kernel(ip: IpAddr) -> Reached {
    let on = |index, mtu| Reached::OnLink { index, mtu };
    match ip.to_string() {
        ip if ip.starts_with("10.0.0.") => on(7, None),
        ip if ip.starts_with("10.8.0.") => on(8, Some(1300)),
        ip if ip.starts_with("10.9.0.") => on(9, None),
        ip if ip.starts_with("192.0.2.") => Reached::Through {
            router: "10.0.0.254".into(),
            index: 7,
            mtu: None,
            learned: None,
        },
        _ => Reached::Not("Network is unreachable".into()),
    }
}

fn desired(others: &[(&str, &[&str], &str)]) -> Desired {
    desired_by(Routing::Direct, others)
}

fn desired_by(routing: Routing, others: &[(&str, &[&str], &str)]) -> Desired {
    let config = Configuration {
        node_name: "a".into(),
        routing,
        node: NodeSettings {
            pod_cidrs: vec!["10.1.1.0/24".parse().unwrap()],
            ..NodeSettings::default()
        },
        routed_pod_cidrs: vec!["10.1.9.0/24".parse().unwrap()],
        ..Configuration::default()
    };
    let others = others
        .iter()
        .map(|(name, ips, range)| node(name, ips, range));
    let snapshot = Snapshot {
        nodes: others
            .chain([node("a", &["10.0.0.1"], "10.1.1.0/24")])
            .collect(),
        ..Snapshot::default()
    };
    Desired::of(
        &config,
        "boot",
        &snapshot,
        &facts(),
        &mut kernel,
        Ready::Off,
    )
}

fn way(index: u32, gateway: &str) -> Way {
    Way {
        index,
        gateway: gateway.parse().ok(),
        ..Way::default()
    }
}

#[test]
fn routes_lead_where_the_kernel_finds_a_node_on_a_link_of_ours() {
    let desired = desired(&[
        ("b", &["10.0.0.2"], "10.1.2.0/24"),
        // The second address is the one on a link.
        ("c", &["192.0.2.3", "10.8.0.3"], "10.1.3.0/24"),
        ("d", &["192.0.2.4"], "10.1.4.0/24"),
        ("e", &["10.9.0.5"], "10.1.5.0/24"),
        ("f", &["fd00::6"], "10.1.6.0/24"),
        ("g", &["198.51.100.7"], "10.1.7.0/24"),
    ]);
    let expected = [
        ("10.1.2.0/24".parse().unwrap(), way(7, "10.0.0.2")),
        ("10.1.3.0/24".parse().unwrap(), way(8, "10.8.0.3")),
    ];
    assert_eq!(desired.routes, expected.into());
    let why = [
        ("d", "its address 192.0.2.4 is behind the router 10.0.0.254"),
        (
            "e",
            "its address 10.9.0.5 is on weir_x, which carries no node traffic (node.links)",
        ),
        ("f", "it has no InternalIP of the family of 10.1.6.0/24"),
        (
            "g",
            "its address 198.51.100.7 is not reached: Network is unreachable",
        ),
    ];
    let why = why.map(|(node, why)| (node.to_owned(), why.to_owned()));
    assert_eq!(desired.unreachable, why.into());
}

#[test]
fn the_plugin_learns_ranges_and_reserved_addresses() {
    let file = desired(&[]).file.unwrap();
    assert_eq!(file.pod_cidrs, ["10.1.1.0/24".parse().unwrap()]);
    assert_eq!(file.reserved, ["10.1.1.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn pods_have_the_mtu_of_the_narrowest_way_to_another_node() {
    assert_eq!(
        desired(&[]).mtu,
        1450,
        "of the link with the node's address"
    );
    let near = ("b", &["10.0.0.2"][..], "10.1.2.0/24");
    assert_eq!(desired(&[near]).mtu, 1450);
    let narrow = ("c", &["10.8.0.3"][..], "10.1.3.0/24");
    assert_eq!(desired(&[near, narrow]).mtu, 1300, "of the route");
}

#[test]
fn who_is_not_on_a_link_of_ours_is_reached_by_the_tunnel() {
    let others: [(&str, &[&str], &str); 4] = [
        ("b", &["10.0.0.2"], "10.1.2.0/24"),
        ("c", &["192.0.2.3", "fd00::3"], "10.1.3.0/24"),
        ("f", &["fd00::6"], "10.1.6.0/24"),
        ("i", &["192.0.2.9"], "10.1.9.0/24"),
    ];
    let range = |text: &str| text.parse::<IpNetwork>().unwrap();
    for (routing, direct, tunnel) in [
        (Routing::Direct, vec!["10.1.2.0/24"], vec![]),
        (Routing::Auto, vec!["10.1.2.0/24"], vec!["10.1.3.0/24"]),
        (
            Routing::Hybrid,
            vec!["10.1.2.0/24"],
            vec!["10.1.3.0/24", "10.1.9.0/24"],
        ),
        (
            Routing::Tunnel,
            vec![],
            vec!["10.1.2.0/24", "10.1.3.0/24", "10.1.9.0/24"],
        ),
    ] {
        let desired = desired_by(routing, &others);
        let routes: Vec<IpNetwork> = desired.routes.keys().copied().collect();
        let all = |texts: &[&str]| texts.iter().map(|text| range(text)).collect::<Vec<_>>();
        assert_eq!(routes, all(&direct), "{routing}");
        assert_eq!(desired.tunnel.ranges, all(&tunnel), "{routing}");
        assert_eq!(desired.tunnel.wanted, routing != Routing::Direct);
        assert_eq!(desired.mtu, if tunnel.is_empty() { 1450 } else { 1400 });
        assert!(desired.unreachable.contains_key("f"), "{routing}");
    }
    let desired = desired_by(Routing::Auto, &others);
    let [pods, second, direct] = ["10.1.3.0/24", "fd00::3/128", "10.0.0.2/32"]
        .map(|text| desired.tunnel.peers[&range(text)]);
    let end: IpAddr = "192.0.2.3".parse().unwrap();
    assert_eq!(
        (pods.end, second.end),
        (end, end),
        "over IPv4, which both have"
    );
    assert_eq!(pods.flags, TUNNEL_SEND);
    // Of that family it has no pods.
    assert_eq!((second.flags, direct.flags), (TUNNEL_NODE, TUNNEL_NODE));
    let lone = desired_by(Routing::Tunnel, &[]);
    assert!(lone.tunnel.wanted && lone.mtu == 1400 && lone.tunnel.mtu == 1400);
    let lone = desired_by(Routing::Auto, &[]);
    assert!(!lone.tunnel.wanted && lone.mtu == 1450);
}

#[test]
fn what_the_node_has_is_led_to_no_other() {
    for routing in [Routing::Direct, Routing::Tunnel] {
        let own = ["10.1.1.0/24", "10.1.1.128/25", "10.1.0.0/16"];
        for range in own {
            let desired = desired_by(routing, &[("b", &["10.0.0.2", "10.0.0.1"], range)]);
            assert_eq!(desired.routes, Routes::new(), "{range}");
            let own: IpNetwork = IpAddr::from([10, 0, 0, 1]).into();
            assert!(!desired.tunnel.peers.contains_key(&own));
            assert!(desired.ways.is_empty());
        }
    }
    let desired = desired_by(
        Routing::Tunnel,
        &[("b", &["10.0.0.2", "10.0.0.1"], "10.1.2.0/24")],
    );
    let own: IpNetwork = IpAddr::from([10, 0, 0, 1]).into();
    assert!(!desired.tunnel.peers.contains_key(&own));
    assert_eq!(desired.ways.len(), 1);
}
