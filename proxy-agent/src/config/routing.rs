//! How pods of other nodes are reached.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How pods of other nodes are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// Directly where a node is on a link of ours or the network carries its pods' addresses (`routedPodCIDRs`), by the tunnel
    /// elsewhere.
    #[default]
    Auto,
    /// Directly. Nodes must be on a link of ours, or the network must know where pods are.
    Direct,
    /// By the tunnel, to every node.
    Tunnel,
    /// Directly where a node is on a link of ours, by the tunnel elsewhere.
    Hybrid,
}

/// Each with its word, as files and the annotation of a Node say it.
const WORDS: [(Routing, &str); 4] = [
    (Routing::Auto, "auto"),
    (Routing::Direct, "direct"),
    (Routing::Tunnel, "tunnel"),
    (Routing::Hybrid, "hybrid"),
];

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(routing, _)| routing == self);
        f.write_str(word.map_or("", |(_, word)| word))
    }
}

impl FromStr for Routing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = WORDS.iter().find(|(_, word)| *word == text);
        found
            .map(|(routing, _)| *routing)
            .ok_or_else(|| format!("`{text}` is not auto, direct, tunnel or hybrid"))
    }
}

/// The tunnel between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TunnelSettings {
    /// UDP port of the tunnel on every node. Firewalls between nodes must let it pass.
    #[schemars(extend("x-flag" = "tunnel-port"))]
    pub port: u16,
    /// Number of the tunnel's network (VNI), the same on all nodes of a cluster.
    #[schemars(extend("x-flag" = "tunnel-vni"))]
    pub vni: u32,
    /// Over which family of addresses nodes send the tunnel's packets; pods of both families go by it.
    #[schemars(extend("x-flag" = "tunnel-underlay"))]
    pub underlay: Underlay,
}

impl Default for TunnelSettings {
    fn default() -> Self {
        Self {
            port: 4789,
            vni: 0x57_65,
            underlay: Underlay::default(),
        }
    }
}

/// Over which family the tunnel goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Underlay {
    /// Over IPv4 between nodes that both have such an `InternalIP`, else over IPv6.
    #[default]
    Auto,
    /// Over IPv4.
    Ipv4,
    /// Over IPv6.
    Ipv6,
}

impl TunnelSettings {
    /// The largest number of a network.
    const MAX_VNI: u32 = (1 << 24) - 1;

    /// What cannot be: the field and why.
    pub(super) fn check(self) -> Result<(), (&'static str, String)> {
        if self.port == 0 {
            return Err(("tunnel.port", "must not be 0".to_owned()));
        }
        if self.vni > Self::MAX_VNI {
            let message = format!("{} is larger than {}", self.vni, Self::MAX_VNI);
            return Err(("tunnel.vni", message));
        }
        Ok(())
    }
}
