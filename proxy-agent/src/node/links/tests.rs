use ipnetwork::IpNetwork;

use super::*;
use crate::node::facts::{Address, DefaultRoute, Routing};

/// Name, kind, type, master; up, with an address.
type Line = (&'static str, &'static str, LinkLayerType, Option<u32>);

fn facts(lines: &[Line]) -> Facts {
    let interfaces = lines
        .iter()
        .zip(1..)
        .map(|((name, kind, layer, master), index)| Interface {
            name: (*name).to_owned(),
            index,
            up: true,
            layer: *layer,
            kind: (*kind).to_owned(),
            master: *master,
            addresses: vec!["10.0.0.1/24".parse::<IpNetwork>().unwrap().into()],
            mtu: 1500,
            mac: [2; 6],
            ..Interface::default()
        });
    Facts {
        interfaces: interfaces.collect(),
        ..Facts::default()
    }
}

fn chosen(settings: &LinkSettings, facts: &Facts) -> Vec<(String, Header)> {
    let links = Links::of(settings, facts, |_| Sources::default());
    let chosen = links.chosen.into_values();
    chosen.map(|link| (link.name, link.header)).collect()
}

#[test]
fn links_that_carry_ip_are_chosen_by_type() {
    use LinkLayerType as L;
    let facts = facts(&[
        ("lo", "", L::Loopback, None),
        ("eth0", "", L::Ether, None),
        ("eth0.7", "vlan", L::Ether, None),
        ("docker0", "bridge", L::Ether, None),
        ("vethab", "veth", L::Ether, Some(4)),
        ("bond0", "bond", L::Ether, None),
        ("eth1", "", L::Ether, Some(6)),
        ("vethcd", "veth", L::Ether, None),
        ("weir0123456789a", "veth", L::Ether, None),
        ("weir_host", "veth", L::Ether, None),
        ("macvlan0", "macvlan", L::Ether, None),
        ("ipvlan0", "ipvlan", L::Ether, None),
        ("tap0", "tun", L::Ether, None),
        ("tun0", "tun", L::None, None),
        ("wg0", "wireguard", L::None, None),
        ("tunl0", "ipip", L::Tunnel, None),
        ("sit1", "sit", L::Sit, None),
        ("gre1", "gre", L::Ipgre, None),
        ("ip6tnl1", "ip6tnl", L::Tunnel6, None),
        ("ppp0", "ppp", L::Ppp, None),
        ("dummy0", "dummy", L::Ether, None),
        ("ifb0", "ifb", L::Ether, None),
    ]);
    let (ethernet, bare): (Vec<_>, Vec<_>) = chosen(&LinkSettings::default(), &facts)
        .into_iter()
        .partition(|(_, header)| *header == Header::Ethernet);
    let names = |links: Vec<(String, Header)>| -> Vec<String> {
        links.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(
        names(ethernet),
        [
            "eth0", "eth0.7", "docker0", "bond0", "vethcd", "macvlan0", "tap0"
        ]
    );
    assert_eq!(
        names(bare),
        ["tun0", "wg0", "tunl0", "sit1", "gre1", "ip6tnl1", "ppp0"]
    );
}

#[test]
fn what_is_not_understood_is_named() {
    let mut facts = facts(&[
        ("ib0", "", LinkLayerType::Infiniband, None),
        ("ib1", "", LinkLayerType::Infiniband, None),
        ("red", "vrf", LinkLayerType::Ether, None),
        ("eth1", "", LinkLayerType::Ether, Some(3)),
    ]);
    facts.interfaces[1].addresses.clear();
    let links = Links::of(&LinkSettings::default(), &facts, |_| Sources::default());
    assert!(links.chosen.is_empty());
    let [ib, vrf] = &links.refused[..] else {
        panic!("{:?}", links.refused);
    };
    assert!(ib.starts_with("ib0 is left alone: "), "{ib}");
    assert!(
        vrf.starts_with("eth1 is left alone: it belongs to red"),
        "{vrf}"
    );
}

#[test]
fn links_whose_frames_begin_with_a_tunnels_header_are_named() {
    let mut facts = facts(&[
        ("gre1", "gre", LinkLayerType::Ipgre, None),
        ("gre2", "gre", LinkLayerType::Ipgre, None),
    ]);
    facts.interfaces[1].wraps = true;
    let links = Links::of(&LinkSettings::default(), &facts, |_| Sources::default());
    assert_eq!(links.chosen.keys().collect::<Vec<_>>(), [&1]);
    assert!(links.refused[0].starts_with("gre2 is left alone: its frames begin"));
    assert!(links.left_alone.contains(&2));
}

#[test]
fn links_have_their_programs_before_they_come_up_but_fallback_tunnels() {
    let mut facts = facts(&[
        ("eth0", "", LinkLayerType::Ether, None),
        ("sit0", "sit", LinkLayerType::Sit, None),
        ("gretap0", "gretap", LinkLayerType::Ether, None),
        ("erspan0", "erspan", LinkLayerType::Ether, None),
    ]);
    for interface in &mut facts.interfaces {
        interface.up = false;
        interface.addresses.clear();
    }
    let names = chosen(&LinkSettings::default(), &facts);
    assert_eq!(names, [("eth0".to_owned(), Header::Ethernet)]);
    for tunnel in &mut facts.interfaces[1..] {
        tunnel.up = true;
    }
    assert_eq!(chosen(&LinkSettings::default(), &facts).len(), 4);
}

#[test]
fn configuration_includes_and_excludes_by_pattern() {
    let ether = |name| (name, "", LinkLayerType::Ether, None);
    let facts = facts(&[ether("eth0"), ether("eth1"), ether("docker0")]);
    let list = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
    let names = |include: &[&str], exclude: &[&str]| -> Vec<String> {
        let settings = LinkSettings {
            include: list(include),
            exclude: list(exclude),
        };
        let links = chosen(&settings, &facts).into_iter();
        links.map(|(name, _)| name).collect()
    };
    assert_eq!(names(&["eth*"], &[]), ["eth0", "eth1"]);
    assert_eq!(names(&[], &["docker*"]), ["eth0", "eth1"]);
    assert_eq!(names(&["eth*"], &["*1"]), ["eth0"]);
}

#[test]
fn the_source_is_the_nodes_address_then_the_routes_then_the_links() {
    let mut facts = facts(&[("eth0", "", LinkLayerType::Ether, None)]);
    let address = |net: &str, preferred| Address {
        preferred,
        ..net.parse::<IpNetwork>().unwrap().into()
    };
    facts.interfaces[0].addresses = vec![
        Address {
            global: false,
            ..address("169.254.0.9/16", true)
        },
        address("10.0.0.7/24", false),
        address("10.0.0.1/24", true),
        address("fd00::1/64", true),
    ];
    let source = |facts: &Facts, internal: &[&str]| {
        let internal: Vec<_> = internal.iter().map(|ip| ip.parse().unwrap()).collect();
        let sources = Sources::of(&facts.interfaces[0], &internal, facts);
        (
            sources.v4.map(|ip| ip.to_string()),
            sources.v6.map(|ip| ip.to_string()),
        )
    };
    let found = |v4: &str, v6: &str| (Some(v4.to_owned()), Some(v6.to_owned()));
    assert_eq!(source(&facts, &["192.0.2.1"]), found("10.0.0.1", "fd00::1"));
    assert_eq!(source(&facts, &["10.0.0.7"]), found("10.0.0.7", "fd00::1"));
    facts.routing = Routing {
        defaults: vec![DefaultRoute {
            ipv4: true,
            index: 1,
            source: "198.51.100.1".parse().ok(),
        }],
        ..Routing::default()
    };
    assert_eq!(source(&facts, &[]), found("198.51.100.1", "fd00::1"));
    facts.interfaces[0].addresses.clear();
    facts.routing = Routing::default();
    assert_eq!(source(&facts, &[]), (None, None), "the node's, then");
}
