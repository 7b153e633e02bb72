//! Whether what pods say to other nodes is hidden from the network.

use std::fmt;

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Configuration, Period, Underlay};

/// Encryption of what goes between pods of different nodes, and between a node and pods of another one. The same on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EncryptionSettings {
    /// By what it is encrypted.
    #[schemars(extend("x-flag" = "encryption"))]
    pub mode: Encryption,
    /// Drop what would leave for another node's pods unencrypted (`not-encrypted`): while a node's key is not known, and on a
    /// kernel without WireGuard. Needs the ranges of all pods: `clusterPodCIDRs` or `masquerade.clusterCIDRs`.
    #[schemars(extend("x-flag" = "encryption-strict"))]
    pub strict: bool,
    /// UDP port of WireGuard on every node. Firewalls between nodes must let it pass.
    #[schemars(extend("x-flag" = "encryption-port"))]
    pub port: u16,
    /// Over which family of addresses nodes send encrypted packets; pods of both families go by it.
    #[schemars(extend("x-flag" = "encryption-underlay"))]
    pub underlay: Underlay,
    /// After what time a node makes itself a new key; 0: never. Connections live through it. WireGuard changes the keys that
    /// encrypt packets every two minutes whatever is said here.
    #[schemars(extend("x-flag" = "encryption-key-rotation"))]
    pub key_rotation: Period,
    /// How often a silent peer is sent an empty packet, as NAT and stateful firewalls between nodes may need; 0: never.
    #[schemars(extend("x-flag" = "encryption-keepalive"))]
    pub persistent_keepalive: Period,
}

/// By what it is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Not at all.
    #[default]
    Off,
    /// By WireGuard, with a key for each node. The kernel must have it.
    Wireguard,
}

impl fmt::Display for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Wireguard => "wireguard",
        })
    }
}

impl Default for EncryptionSettings {
    fn default() -> Self {
        Self {
            mode: Encryption::default(),
            strict: false,
            port: 51871,
            underlay: Underlay::default(),
            key_rotation: Period::from_secs(0),
            persistent_keepalive: Period::from_secs(0),
        }
    }
}

impl EncryptionSettings {
    /// Whether there is to be any.
    pub fn is_on(self) -> bool {
        self.mode == Encryption::Wireguard
    }

    /// Whether what would leave unencrypted is dropped.
    pub fn is_strict(self) -> bool {
        self.is_on() && self.strict
    }

    /// [`Self::persistent_keepalive`] in seconds.
    pub fn keepalive(self) -> u16 {
        u16::try_from(self.persistent_keepalive.0.as_secs()).unwrap_or(u16::MAX)
    }
}

/// Ranges of the pods of all nodes, also of those that are not known.
pub fn cluster_ranges(config: &Configuration) -> impl Iterator<Item = IpNetwork> {
    let all = config.cluster_pod_cidrs.iter();
    let all = all.chain(&config.masquerade.cluster_cidrs);
    // As the kernel has them, without bits behind the prefix.
    all.filter_map(|range| IpNetwork::new(range.network(), range.prefix()).ok())
}

/// What cannot be: the field and why.
pub(super) fn check(config: &Configuration) -> Vec<(&'static str, String)> {
    let settings = config.encryption;
    let mut wrong = Vec::new();
    if settings.port == 0 {
        wrong.push(("encryption.port", "must not be 0".to_owned()));
    }
    if settings.is_on() && settings.port == config.tunnel.port {
        let message = format!("{} is tunnel.port, too", settings.port);
        wrong.push(("encryption.port", message));
    }
    if settings.is_strict() && cluster_ranges(config).next().is_none() {
        let message = "needs clusterPodCIDRs or masquerade.clusterCIDRs: a node must know which addresses are pods' before it \
                       knows their nodes";
        wrong.push(("encryption.strict", message.to_owned()));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_keep_its_promise_is_refused() {
        let mut config = Configuration::default();
        config.encryption.mode = Encryption::Wireguard;
        assert_eq!(check(&config), []);
        config.encryption.strict = true;
        assert_eq!(check(&config)[0].0, "encryption.strict");
        config.masquerade.cluster_cidrs = vec!["10.244.7.1/16".parse().unwrap()];
        assert_eq!(check(&config), []);
        let ranges: Vec<String> = cluster_ranges(&config).map(|r| r.to_string()).collect();
        assert_eq!(ranges, ["10.244.0.0/16"]);
        config.encryption.port = config.tunnel.port;
        assert_eq!(check(&config)[0].0, "encryption.port");
    }
}
