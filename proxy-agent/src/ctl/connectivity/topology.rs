//! What of a cluster the tests depend on.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use k8s_openapi::api::core::v1::{Node, Pod};

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Of an address.
    pub(super) const fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() {
            Self::Ipv4
        } else {
            Self::Ipv6
        }
    }

    /// Of these addresses, the first of this family.
    pub(super) fn first<'a>(self, mut addresses: impl Iterator<Item = &'a str>) -> Option<IpAddr> {
        addresses.find_map(|text| {
            let address = text.parse().ok()?;
            (Self::of(&address) == self).then_some(address)
        })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// A cluster, as the tests see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topology {
    /// Names of the nodes that take part.
    pub(super) nodes: Vec<String>,
    /// Families that pods have.
    pub(super) families: Vec<Family>,
    /// Whether there is a Service for DNS.
    pub(super) dns: bool,
}

/// The families of pods: those of the nodes' ranges; of the agents' addresses, which are the nodes', where nodes have no ranges.
pub(super) fn families<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    agents: impl Iterator<Item = &'a Pod>,
) -> Vec<Family> {
    let ranges = nodes.filter_map(|node| node.spec.as_ref()?.pod_cidrs.as_ref());
    let of_ranges: BTreeSet<Family> = ranges
        .flatten()
        .filter_map(|range| Some(Family::of(&range.split('/').next()?.parse().ok()?)))
        .collect();
    if !of_ranges.is_empty() {
        return of_ranges.into_iter().collect();
    }
    let ips = agents.filter_map(|pod| pod.status.as_ref()?.pod_ips.as_ref());
    let ips = ips.flatten();
    let families: BTreeSet<Family> = ips
        .filter_map(|ip| Some(Family::of(&ip.ip.parse().ok()?)))
        .collect();
    families.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, Pod};
    use serde_json::json;

    use super::{Family, families};

    #[test]
    fn families_are_those_of_pods() {
        let node = |ranges: &[&str]| -> Node {
            serde_json::from_value(json!({ "spec": { "podCIDRs": ranges } })).unwrap()
        };
        let agent: Pod = serde_json::from_value(json!({
            "status": { "podIPs": [{ "ip": "192.0.2.1" }, { "ip": "2001:db8::1" }] },
        }))
        .unwrap();
        let found = |node: &Node| families([node].into_iter(), [&agent].into_iter());
        assert_eq!(found(&node(&["10.0.0.0/24"])), [Family::Ipv4]);
        assert_eq!(found(&node(&["fd00::/64"])), [Family::Ipv6]);
        assert_eq!(found(&Node::default()), [Family::Ipv4, Family::Ipv6]);
    }

    #[test]
    fn the_first_address_of_a_family_is_taken() {
        let addresses = ["a.example", "2001:db8::1", "192.0.2.1", "192.0.2.2"];
        let first = |family: Family| family.first(addresses.into_iter()).unwrap().to_string();
        assert_eq!(first(Family::Ipv4), "192.0.2.1");
        assert_eq!(first(Family::Ipv6), "2001:db8::1");
    }
}
