//! What the node is told about itself.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::format::{Cidr, address_pattern, length_pattern, text_schema};

/// What the node is told about itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeSettings {
    /// Internal addresses, at most one per family.
    #[schemars(extend("x-flag" = "node-address"))]
    pub addresses: Vec<IpAddr>,
    /// Ranges of the node's own pods.
    #[serde(rename = "podCIDRs")]
    #[schemars(with = "Vec<Cidr>", extend("x-flag" = "pod-cidr"))]
    pub pod_cidrs: Vec<IpNetwork>,
    /// Ranges of Services, routed to `weir_host` for what the host sends past socket hooks. Empty: the API server's
    /// `ServiceCIDR`s, or, where it has none, the /24 or /112 around each `ClusterIP`.
    #[serde(rename = "serviceCIDRs")]
    #[schemars(with = "Vec<Cidr>", extend("x-flag" = "service-cidr"))]
    pub service_cidrs: Vec<IpNetwork>,
    /// Addresses that serve `NodePort`s and health check node ports, as kube-proxy's field of this name: those of this
    /// node inside these ranges, where a family without a range serves on all of its addresses; or `primary`, its
    /// internal ones. Empty: `primary`, but health check node ports are served on all.
    #[schemars(extend("x-flag" = "nodeport-addresses"))]
    pub node_port_addresses: Vec<NodePortAddress>,
    /// Which links carry node traffic: all whose type carries IP, unless named here. `*` in a pattern stands for any
    /// letters, `?` for one.
    pub links: LinkSettings,
    /// Source ports for connections that are translated to an address of this node.
    #[schemars(extend("x-flag" = "source-ports"))]
    pub source_ports: SourcePorts,
}

/// Which links carry node traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LinkSettings {
    /// Only links with such names. Empty: all.
    #[schemars(extend("x-flag" = "link"))]
    pub include: Vec<String>,
    /// Never links with such names.
    #[schemars(extend("x-flag" = "exclude-link"))]
    pub exclude: Vec<String>,
}

/// An entry of `nodePortAddresses`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodePortAddress {
    /// The node's internal addresses, the first of each family.
    Primary,
    /// Its addresses in this range.
    Range(IpNetwork),
}

impl FromStr for NodePortAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "primary" => Ok(Self::Primary),
            // Without a length it is no range: kube-proxy refuses it too.
            range if range.contains('/') => range.parse().map(Self::Range).map_err(|_why| ()),
            _ => Err(()),
        }
        .map_err(|()| format!("`{text}` is neither `primary` nor a range such as 10.0.0.0/8"))
    }
}

impl fmt::Display for NodePortAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::Range(range) => range.fmt(f),
        }
    }
}

/// A range of ports, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePorts {
    /// The first.
    pub min: u16,
    /// The last.
    pub max: u16,
}

impl Default for SourcePorts {
    /// Neither what the kernel gives to sockets unless told otherwise (32768–60999) nor `NodePort`s (30000–32767).
    fn default() -> Self {
        Self {
            min: 1024,
            max: 29999,
        }
    }
}

impl FromStr for SourcePorts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
        text.split_once('-')
            .and_then(|(min, max)| Some((port(min)?, port(max)?)))
            .filter(|(min, max)| min <= max)
            .map(|(min, max)| Self { min, max })
            .ok_or_else(|| format!("`{text}` is not a range of ports such as 1024-29999"))
    }
}

impl fmt::Display for SourcePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

/// Serde by the text that people write.
macro_rules! as_text {
    ($($name:ident),+) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )+ };
}

as_text!(NodePortAddress, SourcePorts);
text_schema!(
    NodePortAddress,
    "`primary` or CIDR",
    pattern = concat!(
        "^(primary|",
        address_pattern!(v4),
        length_pattern!(v4),
        "|",
        address_pattern!(v6),
        length_pattern!(v6),
        ")$"
    )
);
text_schema!(SourcePorts, "port range", pattern = "^[0-9]+-[0-9]+$");

impl NodeSettings {
    /// What cannot be: the field and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        for ipv6 in [false, true] {
            let of_family = self.addresses.iter().filter(|a| a.is_ipv6() == ipv6);
            if of_family.count() > 1 {
                let message = "more than one address of one family".to_owned();
                return Err(("node.addresses", message));
            }
        }
        if let Some(range) = self.service_cidrs.iter().find(|r| r.prefix() == 0) {
            let message = format!("`{range}` would lead all that the host sends to weir_host");
            return Err(("node.serviceCIDRs", message));
        }
        let primary = self.node_port_addresses.contains(&NodePortAddress::Primary);
        if primary && self.node_port_addresses.len() > 1 {
            let message = "`primary` stands alone".to_owned();
            return Err(("node.nodePortAddresses", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<NodeSettings, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    fn refused(text: &str) -> String {
        let (field, why) = parsed(text).unwrap().check().unwrap_err();
        format!("{field}: {why}")
    }

    #[test]
    fn primary_stands_alone_and_ranges_have_a_length() {
        let settings = parsed("nodePortAddresses: [primary]").unwrap();
        assert_eq!(settings.node_port_addresses, [NodePortAddress::Primary]);
        assert_eq!(
            refused("nodePortAddresses: [primary, 10.0.0.0/8]"),
            "node.nodePortAddresses: `primary` stands alone"
        );
        for wrong in ["nodePortAddresses: [10.0.0.1]", "nodePortAddresses: [eth0]"] {
            assert!(parsed(wrong).unwrap_err().contains("neither `primary`"));
        }
    }

    #[test]
    fn source_ports_are_a_range() {
        let settings = parsed("sourcePorts: 40000-50000").unwrap();
        let (min, max) = (40000, 50000);
        assert_eq!(settings.source_ports, SourcePorts { min, max });
        for wrong in ["0-5", "7", "9-8", "1-65536", "a-b"] {
            let text = format!("sourcePorts: \"{wrong}\"");
            assert!(parsed(&text).unwrap_err().contains("not a range of ports"));
        }
    }
}
