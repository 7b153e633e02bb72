//! What a cluster is like, and the addresses that follow from it.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::lab::{API_PORT, Node};

/// Which proxy and network the cluster has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::enum_variant_names, reason = "kube-proxy's own name")]
pub(crate) enum Proxy {
    /// Weir as the only network.
    Weir,
    /// kube-proxy in nftables mode and the reference CNI plugins: the yardstick.
    KubeProxy,
    /// kube-proxy in nftables mode and flannel, with its VXLAN.
    Flannel,
}

/// What lies between the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Network {
    /// One link, which carries pods' addresses.
    #[default]
    L2,
    /// Each node has a router, which knows nodes only and drops what has a pod's address, as a cloud's network does.
    Routed,
}

/// The families of nodes, pods and Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Families {
    /// Both; IPv4 first.
    #[default]
    Dual,
    /// IPv4; nodes have no IPv6 at all.
    Ipv4,
    /// IPv6; nodes have no IPv4 address.
    Ipv6,
}

/// What stands between `up` and `down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub(crate) struct Shape {
    /// Number of nodes.
    #[arg(skip)]
    pub(crate) nodes: u8,
    /// Which network it has.
    #[arg(long, value_enum, default_value = "weir")]
    pub(crate) proxy: Proxy,
    /// What lies between the nodes.
    #[arg(long, value_enum, default_value = "l2")]
    #[serde(default)]
    pub(crate) network: Network,
    /// Families of nodes, pods and Services.
    #[arg(long, value_enum, default_value = "dual")]
    #[serde(default)]
    pub(crate) families: Families,
    /// Links of each node; the default route is by the first.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    #[serde(default = "one")]
    pub(crate) links: u8,
}

const fn one() -> u8 {
    1
}

/// A link of a node, counted from 0, which has a bridge of its own in the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) u8);

/// The two addresses of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair(pub(crate) Ipv4Addr, pub(crate) Ipv6Addr);

/// Ranges of Services.
pub(crate) const SERVICES: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];
/// Ranges of pods, a /24 and a /64 for each node.
pub(crate) const PODS: [&str; 2] = ["10.244.0.0/16", "fd00:10:244::/56"];
/// The cluster's DNS Service.
pub(crate) const DNS: [&str; 2] = ["10.96.0.10", "fd00:10:96::a"];
/// Lengths of the prefixes of the fabric's links.
pub(crate) const FABRIC_PREFIX: [u8; 2] = [16, 64];
/// Of a node's link behind a router.
pub(crate) const ROUTED_PREFIX: [u8; 2] = [24, 64];

impl Link {
    /// Its name on a node.
    pub(crate) fn name(self) -> String {
        format!("eth{}", self.0)
    }

    /// Its bridge in the fabric.
    pub(crate) fn bridge(self) -> String {
        format!("br{}", self.0)
    }

    /// The fabric's addresses on it.
    pub(crate) const fn fabric(self) -> Pair {
        self.on_fabric(1)
    }

    /// All of the fabric's addresses on it.
    pub(crate) fn range(self) -> [String; 2] {
        let [v4, v6] = self.on_fabric(0).words();
        [
            format!("{v4}/{}", FABRIC_PREFIX[0]),
            format!("{v6}/{}", FABRIC_PREFIX[1]),
        ]
    }

    const fn on_fabric(self, host: u8) -> Pair {
        Pair(
            Ipv4Addr::new(172, 30 - self.0, 0, host),
            Ipv6Addr::new(0xfd30 + self.0 as u16, 0, 0, 0, 0, 0, 0, host as u16),
        )
    }

    /// Addresses of a node's router, towards the fabric.
    pub(crate) const fn router(self, node: Node) -> Pair {
        self.on_fabric(10 + node.0)
    }

    /// Addresses of a node's router, towards the node.
    pub(crate) const fn gateway(self, node: Node) -> Pair {
        self.behind(node, 1)
    }

    /// On the link behind a node's router.
    const fn behind(self, node: Node, host: u8) -> Pair {
        Pair(
            Ipv4Addr::new(172, 27 + self.0, node.0, host),
            Ipv6Addr::new(
                0xfd40 + self.0 as u16,
                0,
                0,
                node.0 as u16,
                0,
                0,
                0,
                host as u16,
            ),
        )
    }
}

impl Families {
    /// Whether IPv4 and IPv6 are in it.
    pub(crate) const fn has(self) -> [bool; 2] {
        [!matches!(self, Self::Ipv6), !matches!(self, Self::Ipv4)]
    }

    /// Of both, what is of families that there are, IPv4 first.
    pub(crate) fn of<T>(self, both: [T; 2]) -> Vec<T> {
        let there = both.into_iter().zip(self.has());
        there.filter_map(|(one, has)| has.then_some(one)).collect()
    }

    /// Likewise, with commas between.
    pub(crate) fn list<T: ToString>(self, both: [T; 2]) -> String {
        let words: Vec<String> = self.of(both).iter().map(T::to_string).collect();
        words.join(",")
    }

    /// Likewise, of the first family.
    pub(crate) fn first<T>(self, [v4, v6]: [T; 2]) -> T {
        if self.has()[0] { v4 } else { v6 }
    }
}

impl Pair {
    /// As words.
    pub(crate) fn words(self) -> [String; 2] {
        [self.0.to_string(), self.1.to_string()]
    }
}

impl Shape {
    /// The nodes.
    pub(crate) fn all(self) -> impl Iterator<Item = Node> {
        (1..=self.nodes).map(Node)
    }

    /// The links of each node.
    pub(crate) fn links(self) -> impl Iterator<Item = Link> {
        (0..self.links).map(Link)
    }

    /// A node's addresses on a link.
    pub(crate) const fn address(self, node: Node, link: Link) -> Pair {
        match self.network {
            Network::L2 => link.on_fabric(10 + node.0),
            Network::Routed => link.behind(node, 10),
        }
    }

    /// A node's own addresses, of the families that there are.
    pub(crate) fn node_ip(self, node: Node) -> String {
        self.families.list(self.address(node, Link(0)).words())
    }

    /// Whether the control plane is on the first node, and not beside the nodes: it must reach pods.
    pub(crate) const fn control_plane_on_node(self) -> bool {
        matches!(self.network, Network::Routed)
    }

    /// The API server's addresses.
    pub(crate) const fn api_addresses(self) -> Pair {
        if self.control_plane_on_node() {
            self.address(Node(1), Link(0))
        } else {
            Link(0).fabric()
        }
    }

    /// The API server's own address.
    pub(crate) fn api_host(self) -> String {
        self.families.first(self.api_addresses().words())
    }

    /// Its URL.
    pub(crate) fn api(self) -> String {
        let [v4, v6] = self.api_addresses().words();
        let host = self.families.first([v4, format!("[{v6}]")]);
        format!("https://{host}:{API_PORT}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(network: Network, families: Families) -> Shape {
        Shape {
            nodes: 3,
            proxy: Proxy::Weir,
            network,
            families,
            links: 2,
        }
    }

    #[test]
    fn nodes_have_addresses_by_family_and_network() {
        let dual = shape(Network::L2, Families::Dual);
        assert_eq!(dual.node_ip(Node(1)), "172.30.0.11,fd30::b");
        assert_eq!(
            dual.address(Node(1), Link(1)).words(),
            ["172.29.0.11", "fd31::b"]
        );
        assert_eq!(dual.api(), "https://172.30.0.1:6443");
        let routed = shape(Network::Routed, Families::Ipv6);
        assert_eq!(routed.node_ip(Node(2)), "fd40:0:0:2::a");
        assert_eq!(routed.api(), "https://[fd40:0:0:1::a]:6443");
        assert_eq!(Families::Ipv4.list(SERVICES), SERVICES[0]);
    }

    #[test]
    fn a_shape_of_an_earlier_version_is_read() {
        let shape: Shape = serde_json::from_str(r#"{"nodes":3,"proxy":"weir"}"#).unwrap();
        assert_eq!((shape.network, shape.links), (Network::L2, 1));
    }
}
