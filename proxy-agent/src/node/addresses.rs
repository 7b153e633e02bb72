//! Which addresses are the node's own, and what each of them serves.

use std::{collections::BTreeMap, net::IpAddr};

use ipnetwork::IpNetwork;
use proxy_common::node::{ADDRESS_HOST_PORT, ADDRESS_LOCAL, ADDRESS_NODE_PORT};

use super::{facts::Facts, maps::NodeMaps};
use crate::{
    api::listen::ListenOn,
    config::{NodePortAddress, NodeSettings},
};

/// The node's own addresses, in order, without such as reach no pod: those of its Node object, and all others that the
/// machine has. Policy lets them reach its pods, and what is served there is more than the node's own sockets.
fn own(flags: &BTreeMap<IpAddr, u32>) -> Vec<IpAddr> {
    let own = flags.iter();
    let own = own.filter(|(ip, flags)| **flags & ADDRESS_LOCAL != 0 && reaches_pods(**ip));
    own.map(|(ip, _)| *ip).collect()
}

/// Those that the maps hold.
pub fn in_force(maps: &NodeMaps) -> Vec<IpAddr> {
    own(&maps.addresses())
}

/// The large ranges that the maps hold.
pub fn ranges_in_force(maps: &NodeMaps) -> Vec<IpNetwork> {
    maps.ranges().into_keys().collect()
}

/// Each pod's interface has a link-local address of its own: they would come and go with the pods.
const fn reaches_pods(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

/// A range that is local by a route alone, of so many addresses at most, has an entry for each.
const RANGE: u64 = 256;
/// Addresses of all such ranges, at most: half of what the maps hold.
const RANGES: u64 = 512;

/// The node's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// What each serves: `NODE_ADDRESSES*`.
    pub flags: BTreeMap<IpAddr, u32>,
    /// What each address of larger ranges serves, the longest counts: `NODE_RANGES*`.
    pub ranges: BTreeMap<IpNetwork, u32>,
}

impl Addresses {
    /// Those of the machine, by whatever interface or route, and the internal ones.
    pub fn of(settings: &NodeSettings, internal: &[IpAddr], facts: &Facts) -> Self {
        let selection = Selection::of(settings, internal);
        let mut addresses = Self::default();
        let mut left = RANGES;
        for range in facts.local_ranges() {
            match size(&range).filter(|size| *size <= left) {
                Some(size) => {
                    left -= size;
                    addresses.add(range.iter(), &selection);
                }
                None => addresses.ranges.extend(selection.within(range)),
            }
        }
        addresses.add(facts.addresses(), &selection);
        addresses.add(internal.iter().copied(), &selection);
        addresses
    }

    /// Those that serve `NodePort`s.
    pub fn serving_node_ports(&self) -> impl Iterator<Item = IpAddr> {
        let serving = self.flags.iter();
        let serving = serving.filter(|(_, flags)| **flags & ADDRESS_NODE_PORT != 0);
        serving.map(|(ip, _)| *ip)
    }

    fn add(&mut self, ips: impl Iterator<Item = IpAddr>, selection: &Selection) {
        self.flags.extend(ips.map(|ip| (ip, flags(ip, selection))));
    }
}

/// How many addresses a range has, if that is few enough.
fn size(range: &IpNetwork) -> Option<u64> {
    let bits = if range.is_ipv4() { 32 } else { 128 };
    let size = 1_u64.checked_shl(u32::from(bits - range.prefix()))?;
    (size <= RANGE).then_some(size)
}

/// Whatever is local is the node's; all but loopback serves `hostPort`s: what comes to it from outside is forged.
fn flags(ip: IpAddr, selection: &Selection) -> u32 {
    let when = |set: bool, bit: u32| if set { bit } else { 0 };
    ADDRESS_LOCAL
        | when(selection.has(ip), ADDRESS_NODE_PORT)
        | when(!ip.is_loopback(), ADDRESS_HOST_PORT)
}

/// What `nodePortAddresses` selects, as kube-proxy reads it: `NewNodePortAddresses` in
/// <https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/proxy/util/nodeport_addresses.go>.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selection {
    Only(Vec<IpAddr>),
    Ranges(Vec<IpNetwork>),
}

impl Selection {
    fn of(settings: &NodeSettings, internal: &[IpAddr]) -> Self {
        let entries = settings.node_port_addresses.iter();
        let ranges = entries.filter_map(|entry| match entry {
            NodePortAddress::Range(range) => Some(*range),
            NodePortAddress::Primary => None,
        });
        let ranges: Vec<IpNetwork> = ranges.collect();
        if ranges.is_empty() {
            let primary = |ipv4| internal.iter().copied().find(|ip| ip.is_ipv4() == ipv4);
            return Self::Only([true, false].into_iter().filter_map(primary).collect());
        }
        Self::Ranges(ranges)
    }

    fn has(&self, ip: IpAddr) -> bool {
        match self {
            Self::Only(ips) => ips.contains(&ip),
            Self::Ranges(ranges) => {
                let mut family = ranges.iter().filter(|r| r.is_ipv4() == ip.is_ipv4());
                // Ranges of the other family alone say nothing about this one.
                family.clone().next().is_none() || family.any(|range| range.contains(ip))
            }
        }
    }

    /// A range, and those within it that it selects: what their addresses serve.
    fn within(&self, range: IpNetwork) -> BTreeMap<IpNetwork, u32> {
        let none = ADDRESS_LOCAL | ADDRESS_HOST_PORT;
        let mut all = BTreeMap::from([(range, none)]);
        let Self::Ranges(ranges) = self else {
            return all;
        };
        let mut family = ranges.iter().filter(|r| r.is_ipv4() == range.is_ipv4());
        let contains = |outer: &IpNetwork, inner: &IpNetwork| {
            outer.prefix() <= inner.prefix() && outer.contains(inner.network())
        };
        let is_all = family.clone().next().is_none() || family.clone().any(|r| contains(r, &range));
        if is_all {
            all.insert(range, none | ADDRESS_NODE_PORT);
            return all;
        }
        let parts = family.by_ref().filter(|r| contains(&range, r));
        all.extend(parts.map(|part| (*part, none | ADDRESS_NODE_PORT)));
        all
    }
}

impl ListenOn {
    /// While the node's addresses are not known: on none, unless it is every one anyway.
    pub fn unknown(settings: &NodeSettings) -> Self {
        if is_every(&settings.node_port_addresses) {
            return Self::All;
        }
        Self::default()
    }

    /// As kube-proxy: on every address if `NodePort`s are served on every one of a family, or nothing is said.
    pub fn of(settings: &NodeSettings, addresses: &Addresses, facts: &Facts) -> Self {
        if is_every(&settings.node_port_addresses) {
            return Self::All;
        }
        // A link-local one says nothing without its link, and clouds' load balancers come from further away.
        let bound = |ip: &IpAddr| facts.with_address(*ip).is_some() && !is_link_local(*ip);
        Self::Only(addresses.serving_node_ports().filter(bound).collect())
    }
}

fn is_every(entries: &[NodePortAddress]) -> bool {
    let every = |entry: &NodePortAddress| match entry {
        NodePortAddress::Range(range) => range.prefix() == 0,
        NodePortAddress::Primary => false,
    };
    entries.is_empty() || entries.iter().any(every)
}

const fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::facts::{Interface, Routing};

    fn facts(local: &[&str]) -> Facts {
        let nets = ["10.0.0.1/24", "10.0.9.1/24", "fd00::1/64", "fd09::1/64"];
        let interface = |index, nets: &[&str]| Interface {
            index,
            addresses: nets
                .iter()
                .map(|net| net.parse::<IpNetwork>().unwrap().into())
                .collect(),
            ..Interface::default()
        };
        Facts {
            interfaces: vec![
                interface(1, &["127.0.0.1/8", "::1/128"]),
                interface(2, &nets),
            ],
            routing: Routing {
                local: local.iter().map(|net| net.parse().unwrap()).collect(),
                ..Routing::default()
            },
        }
    }

    fn settings(entries: &[&str]) -> NodeSettings {
        NodeSettings {
            node_port_addresses: entries.iter().map(|e| e.parse().unwrap()).collect(),
            ..NodeSettings::default()
        }
    }

    fn serving(entries: &[&str], facts: &Facts) -> Vec<String> {
        let internal = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap());
        let addresses = Addresses::of(&settings(entries), &internal, facts);
        let serving = addresses.serving_node_ports();
        serving.map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn node_ports_are_served_where_kube_proxy_serves_them() {
        let facts = facts(&[]);
        let primary = ["10.0.0.1", "fd00::1"];
        assert_eq!(serving(&[], &facts), primary);
        assert_eq!(serving(&["primary"], &facts), primary);
        assert_eq!(
            serving(&["10.0.9.0/24"], &facts),
            ["10.0.9.1", "::1", "fd00::1", "fd09::1"],
            "a family without a range serves on all"
        );
        assert_eq!(
            serving(&["10.0.9.0/24", "fd09::/16"], &facts),
            ["10.0.9.1", "fd09::1"]
        );
        assert_eq!(
            serving(&["192.0.2.0/24", "fdff::/16"], &facts),
            [""; 0],
            "nothing matches"
        );
    }

    #[test]
    fn what_is_local_by_a_route_alone_is_the_nodes() {
        let facts = facts(&[
            "10.0.0.1/32",
            "127.0.0.0/8",
            "192.0.2.0/28",
            "198.51.100.7/32",
            "203.0.113.0/23",
            "fd77::/120",
            "fd78::/64",
        ]);
        let addresses = Addresses::of(&NodeSettings::default(), &[], &facts);
        let has = |ip: &str| addresses.flags.contains_key(&ip.parse().unwrap());
        for ip in ["192.0.2.0", "192.0.2.15", "198.51.100.7", "fd77::ff"] {
            assert!(has(ip), "{ip}");
        }
        for ip in ["192.0.2.16", "203.0.113.1", "127.0.0.2", "fd78::1"] {
            assert!(!has(ip), "{ip}");
        }
        let large: Vec<String> = addresses.ranges.keys().map(ToString::to_string).collect();
        assert_eq!(large, ["203.0.113.0/23", "fd78::/64"]);
    }

    /// As of each address by itself.
    #[test]
    fn large_ranges_serve_what_their_addresses_would() {
        let facts = facts(&["198.18.0.0/15", "fd78::/64"]);
        let internal = ["10.0.0.1".parse().unwrap()];
        let asked = [
            "198.18.0.1",
            "198.18.7.255",
            "198.18.8.0",
            "198.19.255.255",
            "fd78::1",
            "fd78::1:0:0",
        ];
        for entries in [
            &[][..],
            &["primary"],
            &["0.0.0.0/0"],
            &["0.0.0.0/0", "::/0"],
            &["198.18.0.0/21"],
            &["198.18.0.0/21", "198.19.255.255/32", "fd78::/80"],
            &["198.16.0.0/12", "fd79::/64"],
            &["fd78::/64"],
        ] {
            let settings = settings(entries);
            let addresses = Addresses::of(&settings, &internal, &facts);
            let selection = Selection::of(&settings, &internal);
            for ip in asked {
                let ip: IpAddr = ip.parse().unwrap();
                let ranges = addresses
                    .ranges
                    .iter()
                    .filter(|(range, _)| range.contains(ip));
                let longest = ranges.max_by_key(|(range, _)| range.prefix());
                let (_, found) = longest.unwrap();
                assert_eq!(*found, flags(ip, &selection), "{ip} with {entries:?}");
            }
        }
    }

    #[test]
    fn ranges_leave_room_for_the_rest() {
        let many: Vec<String> = (0..4).map(|third| format!("192.0.{third}.0/24")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let addresses = Addresses::of(&NodeSettings::default(), &[], &facts(&many));
        assert_eq!(addresses.ranges.len(), 2);
        assert!(addresses.flags.len() < 600);
    }

    #[test]
    fn health_checks_listen_nowhere_if_nothing_matches() {
        let facts = facts(&[]);
        let on = |entries: &[&str]| {
            let settings = settings(entries);
            let internal = ["10.0.0.1".parse().unwrap()];
            let addresses = Addresses::of(&settings, &internal, &facts);
            let on = ListenOn::of(&settings, &addresses, &facts);
            let unknown = match &on {
                ListenOn::All => ListenOn::All,
                ListenOn::Only(_) => ListenOn::Only(Vec::new()),
            };
            assert_eq!(ListenOn::unknown(&settings), unknown);
            on
        };
        assert_eq!(on(&[]), ListenOn::All);
        assert_eq!(on(&["0.0.0.0/0"]), ListenOn::All);
        assert_eq!(
            on(&["192.0.2.0/24", "fdff::/16"]),
            ListenOn::Only(Vec::new())
        );
        let primary = vec!["10.0.0.1".parse().unwrap()];
        assert_eq!(on(&["primary"]), ListenOn::Only(primary));
    }
}
