//! Settings of the kernel without which a node cannot forward.

use proxy_agent::{
    config::Conntrack,
    node::{facts::Facts, sysctls::Sysctls},
    subject::Repairs,
};
use weir_tests::{
    inside::inside,
    world::{Node, World},
};

fn write(node: &Node, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        node.run_with_input(&["tee", &format!("/proc/sys/net/{key}")], value)
            .unwrap();
    }
}

fn expect(node: &Node, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        let now = node.run(&["cat", &format!("/proc/sys/net/{key}")]).unwrap();
        assert_eq!(now.trim(), *value, "{key}");
    }
}

/// As the agent does, by links with these names.
fn apply(sysctls: &mut Sysctls, node: &Node, links: &[&str]) {
    let errors = inside(node, || {
        let mut errors = sysctls.hear(&Facts::read().unwrap(), &mut Repairs::default());
        errors.extend(sysctls.apply(links, &Conntrack::default(), &mut Repairs::default()));
        errors
    });
    assert_eq!(errors, [""; 0]);
}

#[test]
fn a_node_as_it_comes_is_made_to_forward() {
    let node = World::new("sysctls").unwrap().node("a").unwrap();
    write(
        &node,
        &[
            ("ipv4/ip_forward", "0"),
            ("ipv6/conf/all/forwarding", "0"),
            ("ipv6/conf/eth0/accept_ra", "1"),
            ("ipv4/conf/all/rp_filter", "1"),
            ("ipv4/conf/eth0/rp_filter", "1"),
        ],
    );
    let forwarding = [
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        // For answers by the loopback from its own addresses.
        ("ipv4/conf/lo/accept_local", "1"),
        ("ipv4/conf/lo/route_localnet", "1"),
        // A router keeps its default route from advertisements only so.
        ("ipv6/conf/eth0/accept_ra", "2"),
        // Strict would drop what comes back another way.
        ("ipv4/conf/all/rp_filter", "2"),
        ("ipv4/conf/eth0/rp_filter", "2"),
    ];
    for _round in 0..2 {
        apply(&mut Sysctls::default(), &node, &["eth0"]);
        expect(&node, &forwarding);
    }
}

#[test]
fn what_the_administrator_has_turned_off_stays_off() {
    let node = World::new("sysctls-off").unwrap().node("a").unwrap();
    let off = [
        ("ipv6/conf/eth0/accept_ra", "0"),
        ("ipv4/conf/all/rp_filter", "0"),
    ];
    write(&node, &off);
    apply(&mut Sysctls::default(), &node, &["eth0"]);
    expect(&node, &off);
    // An interface without IPv6, or one that has just gone, needs nothing.
    apply(&mut Sysctls::default(), &node, &["absent0"]);
}

/// Every link that heard routers before hears them afterwards, also one that comes later, and whatever somebody sets.
#[test]
fn router_advertisements_are_heard_by_every_link_as_before() {
    let node = World::new("sysctls-ra").unwrap().node("a").unwrap();
    node.batch("link add eth1 type veth peer name far1\nlink set eth1 up\nlink add eth2 type veth peer name far2\n")
        .unwrap();
    write(
        &node,
        &[
            ("ipv6/conf/all/forwarding", "0"),
            ("ipv6/conf/default/accept_ra", "1"),
            ("ipv6/conf/eth1/accept_ra", "1"),
            ("ipv6/conf/far1/accept_ra", "0"),
            // It forwards, and so hears none.
            ("ipv6/conf/eth2/accept_ra", "1"),
            ("ipv6/conf/eth2/forwarding", "1"),
        ],
    );
    let mut sysctls = Sysctls::default();
    apply(&mut sysctls, &node, &["eth0"]);
    let heard = [
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv6/conf/eth1/accept_ra", "2"),
        ("ipv6/conf/far1/accept_ra", "0"),
        ("ipv6/conf/eth2/accept_ra", "1"),
    ];
    expect(&node, &heard);
    node.batch("link add later type veth peer name far3\n")
        .unwrap();
    expect(&node, &[("ipv6/conf/later/accept_ra", "2")]);
    write(&node, &[("ipv6/conf/eth1/accept_ra", "1")]);
    apply(&mut sysctls, &node, &["eth0"]);
    expect(&node, &heard);
}

#[test]
fn netfilter_keeps_connections_as_long_as_kube_proxy_wants() {
    let node = World::new("sysctls-ct").unwrap().node("a").unwrap();
    // A rule that needs the module, as hosts have them.
    let rule =
        "table inet t { chain c { type filter hook forward priority 0; ct state invalid drop; }; }";
    node.run_with_input(&["nft", "-f", "-"], rule).unwrap();
    let max = "/proc/sys/net/netfilter/nf_conntrack_max";
    let before = node.run(&["cat", max]).unwrap();
    let settings = [
        ("netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
        ("netfilter/nf_conntrack_tcp_timeout_established", "86400"),
    ];
    write(&node, &settings.map(|(key, _)| (key, "60")));
    apply(&mut Sysctls::default(), &node, &["eth0"]);
    expect(&node, &settings);
    let after = node.run(&["cat", max]).unwrap();
    assert_eq!(after, before, "the table is the machine's, not the node's");
}
