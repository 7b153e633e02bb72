//! Which way leads to another node's pods of a family: directly, as the network carries them, or by the tunnel.
//!
//! The way belongs to the pair of nodes, and both find the same one: by the configuration, which is the cluster's, by what the
//! annotation `weir.dev/routing` says of one of the two, and by whether they are on one link. Both directions of a flow then
//! take it. Where the two differ for a while (a change that one has heard of, prefixes that differ) each takes what comes by
//! either.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::{
    config::{
        Configuration, EncryptionSettings, Routing, TunnelSettings, Underlay, Xdp,
        encryption::cluster_ranges,
    },
    model::Node,
};

/// How the way to a node is found.
pub fn routing(config: &Configuration, here: Option<&Node>, there: &Node) -> Routing {
    let told = |node: &Node| node.routing.as_deref()?.parse().ok();
    let [here, there] =
        [here.and_then(told), told(there)].map(|told| told.unwrap_or(config.routing));
    // Who needs more is asked: none of the two can do with less.
    match (here, there) {
        (Routing::Tunnel, _) | (_, Routing::Tunnel) => Routing::Tunnel,
        (Routing::Hybrid, _) | (_, Routing::Hybrid) => Routing::Hybrid,
        (Routing::Auto, _) | (_, Routing::Auto) => Routing::Auto,
        (Routing::Direct, Routing::Direct) => Routing::Direct,
    }
}

/// Why an annotation of a Node is not followed.
pub fn mistake(node: &Node) -> Option<String> {
    let text = node.routing.as_deref()?;
    let why = text.parse::<Routing>().err()?;
    Some(format!(
        "annotation weir.dev/routing of node {}: {why}",
        node.name
    ))
}

/// Whether the network carries all of a range of pods.
pub fn is_routed(config: &Configuration, range: IpNetwork) -> bool {
    config.routed_pod_cidrs.iter().any(|routed| {
        routed.is_ipv4() == range.is_ipv4()
            && routed.prefix() <= range.prefix()
            && routed.contains(range.network())
    })
}

/// Where the tunnel to a node ends: its first address of the first family of which both have one.
pub fn end(underlay: Underlay, internal: &[IpAddr], there: &Node) -> Option<IpAddr> {
    let families: &[bool] = match underlay {
        Underlay::Auto => &[true, false],
        Underlay::Ipv4 => &[true],
        Underlay::Ipv6 => &[false],
    };
    let first = |ips: &[IpAddr], ipv4: bool| ips.iter().copied().find(|ip| ip.is_ipv4() == ipv4);
    families
        .iter()
        .filter(|ipv4| first(internal, **ipv4).is_some())
        .find_map(|ipv4| first(&there.internal_ips, *ipv4))
}

/// What ways between nodes, and XDP at links, go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Between {
    routing: Routing,
    routed: Vec<IpNetwork>,
    tunnel: TunnelSettings,
    encryption: EncryptionSettings,
    closed: Vec<IpNetwork>,
    xdp: Xdp,
}

impl Between {
    /// Of a configuration.
    pub fn of(config: &Configuration) -> Self {
        Self {
            routing: config.routing,
            routed: config.routed_pod_cidrs.clone(),
            tunnel: config.tunnel,
            encryption: config.encryption,
            closed: cluster_ranges(config).collect(),
            xdp: config.xdp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(routing: Option<&str>, ips: &[&str]) -> Node {
        Node {
            name: "b".to_owned(),
            routing: routing.map(ToOwned::to_owned),
            internal_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..Node::default()
        }
    }

    #[test]
    fn both_nodes_of_a_pair_find_the_same_way() {
        let words = [
            None,
            Some("auto"),
            Some("direct"),
            Some("tunnel"),
            Some("hybrid"),
            Some("x"),
        ];
        for routing_here in [
            Routing::Auto,
            Routing::Direct,
            Routing::Tunnel,
            Routing::Hybrid,
        ] {
            let config = Configuration {
                routing: routing_here,
                ..Configuration::default()
            };
            for one in words {
                for other in words {
                    let (one, other) = (node(one, &[]), node(other, &[]));
                    let forth = routing(&config, Some(&one), &other);
                    assert_eq!(forth, routing(&config, Some(&other), &one));
                }
            }
            assert_eq!(
                routing(&config, None, &node(Some("tunnel"), &[])),
                Routing::Tunnel
            );
        }
        assert!(
            mistake(&node(Some("x"), &[]))
                .unwrap()
                .contains("`x` is not auto")
        );
        assert_eq!(mistake(&node(Some("direct"), &[])), None);
    }

    #[test]
    fn the_tunnel_takes_a_family_that_both_have() {
        let ips =
            |ips: &[&str]| -> Vec<IpAddr> { ips.iter().map(|ip| ip.parse().unwrap()).collect() };
        let (v4, v6, both) = (["10.0.0.1"], ["fd00::1"], ["fd00::2", "10.0.0.2"]);
        let at = |underlay, here: &[&str], there: &[&str]| {
            end(underlay, &ips(here), &node(None, there)).map(|ip| ip.to_string())
        };
        assert_eq!(at(Underlay::Auto, &v4, &both).as_deref(), Some("10.0.0.2"));
        assert_eq!(at(Underlay::Auto, &v6, &both).as_deref(), Some("fd00::2"));
        assert_eq!(at(Underlay::Auto, &both, &v6).as_deref(), Some("fd00::1"));
        assert_eq!(at(Underlay::Ipv6, &both, &both).as_deref(), Some("fd00::2"));
        assert_eq!(at(Underlay::Auto, &v4, &v6), None);
        assert_eq!(at(Underlay::Ipv4, &both, &v6), None);
    }

    #[test]
    fn a_range_is_routed_as_a_whole_or_not() {
        let config = Configuration {
            routed_pod_cidrs: vec!["10.1.0.0/16".parse().unwrap()],
            ..Configuration::default()
        };
        for (range, routed) in [
            ("10.1.2.0/24", true),
            ("10.1.0.0/16", true),
            ("10.0.0.0/8", false),
            ("fd00::/64", false),
        ] {
            assert_eq!(
                is_routed(&config, range.parse().unwrap()),
                routed,
                "{range}"
            );
        }
    }
}
