//! What pods send out of the cluster.

use std::{net::IpAddr, path::PathBuf};

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::format::Cidr;

/// In whose name pods speak out of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MasqueradeSettings {
    /// Over IPv4.
    #[schemars(extend("x-flag" = "masquerade-ipv4"))]
    pub ipv4: Masquerading,
    /// Over IPv6.
    #[schemars(extend("x-flag" = "masquerade-ipv6"))]
    pub ipv6: Masquerading,
    /// Ranges of the pods of all nodes, also of those that do not exist yet. Without it a node counts as inside as soon as its
    /// Node object has `podCIDRs`.
    #[serde(rename = "clusterCIDRs")]
    #[schemars(with = "Vec<Cidr>", extend("x-flag" = "cluster-cidr"))]
    pub cluster_cidrs: Vec<IpNetwork>,
    /// More ranges that pods reach under their own address, as ip-masq-agent's field of this name.
    #[serde(rename = "nonMasqueradeCIDRs")]
    #[schemars(with = "Vec<Cidr>", extend("x-flag" = "non-masquerade-cidr"))]
    pub non_masquerade_cidrs: Vec<IpNetwork>,
    /// Masquerade to 169.254.0.0/16 too, as ip-masq-agent's field of this name. Metadata services of clouds are there, which
    /// answer a node and no pod.
    pub masq_link_local: bool,
    /// Masquerade to `fe80::/10` too, as ip-masq-agent's field of this name.
    #[serde(rename = "masqLinkLocalIPv6")]
    pub masq_link_local_ipv6: bool,
    /// A file as ip-masq-agent has it, YAML or JSON: `nonMasqueradeCIDRs` (10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16
    /// where it names none), `masqLinkLocal`, `masqLinkLocalIPv6`, `resyncInterval` (after which it is read again). It adds to
    /// the settings here. Without such a file these alone hold.
    #[schemars(extend("format" = "path"))]
    pub ip_masq_agent_file: PathBuf,
}

impl Default for MasqueradeSettings {
    fn default() -> Self {
        Self {
            ipv4: Masquerading::default(),
            ipv6: Masquerading::default(),
            cluster_cidrs: Vec::new(),
            non_masquerade_cidrs: Vec::new(),
            masq_link_local: false,
            masq_link_local_ipv6: false,
            ip_masq_agent_file: PathBuf::from("/etc/config/ip-masq-agent"),
        }
    }
}

/// When pods speak in the node's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Masquerading {
    /// Where the node's pods have private addresses: RFC 1918, 6598 and other ranges that the Internet does not route, or
    /// IPv6's unique local ones (`fc00::/7`).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never: the network routes pods' addresses, or somebody else translates them.
    Never,
}

impl Masquerading {
    /// Whether pods of these ranges speak in the node's name over one family.
    pub fn holds(self, pods: &[IpNetwork], ipv4: bool) -> bool {
        let mut ours = pods.iter().filter(|range| range.is_ipv4() == ipv4);
        match self {
            Self::Auto => ours.any(|range| is_private(range.ip())),
            Self::Always => ours.next().is_some(),
            Self::Never => false,
        }
    }
}

/// Ranges that the Internet does not route (IANA's registries of special-purpose addresses).
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            let benchmarks = a == 198 && b & 0xfe == 18;
            ip.is_private() || ip.is_link_local() || shared || benchmarks || a >= 240
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_internet_does_not_route_is_masqueraded() {
        for (range, private) in [
            ("10.244.0.0/24", true),
            ("172.31.0.0/24", true),
            ("172.32.0.0/24", false),
            ("192.168.7.0/24", true),
            ("100.64.0.0/16", true),
            ("100.128.0.0/16", false),
            ("198.19.0.0/24", true),
            ("240.10.0.0/24", true),
            ("169.254.7.0/24", true),
            ("203.0.114.0/24", false),
            ("fd00:244::/64", true),
            ("fc00::/64", true),
            ("2001:db8::/64", false),
        ] {
            let pods: [IpNetwork; 1] = [range.parse().unwrap()];
            let ipv4 = pods[0].is_ipv4();
            assert_eq!(Masquerading::Auto.holds(&pods, ipv4), private, "{range}");
            assert!(!Masquerading::Auto.holds(&pods, !ipv4), "{range}");
            assert!(Masquerading::Always.holds(&pods, ipv4), "{range}");
            assert!(!Masquerading::Never.holds(&pods, ipv4), "{range}");
        }
    }
}
