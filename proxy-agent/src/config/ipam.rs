//! Where the ranges of nodes' pods come from.

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Configuration, Period};

/// Where the ranges of nodes' pods come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ipam {
    /// From `spec.podCIDRs` of each Node, which kube-controller-manager or a cloud's controller fills in.
    #[default]
    Node,
    /// Each agent claims a range of each family out of `clusterPodCIDRs` for its node, without anybody else's help.
    Cluster,
}

/// How ranges are claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodRangeSettings {
    /// Length of a node's IPv4 range, as kube-controller-manager's `--node-cidr-mask-size-ipv4`. Ranges that are claimed stay
    /// as they are.
    #[serde(rename = "maskSizeIPv4")]
    #[schemars(extend("x-flag" = "node-cidr-mask-size-ipv4"))]
    pub mask_size_ipv4: u8,
    /// Length of a node's IPv6 range, as kube-controller-manager's `--node-cidr-mask-size-ipv6`.
    #[serde(rename = "maskSizeIPv6")]
    #[schemars(extend("x-flag" = "node-cidr-mask-size-ipv6"))]
    pub mask_size_ipv6: u8,
    /// How long a Node must have been gone before its ranges are given back, the same on all nodes. A node that cannot confirm
    /// its ranges for nine tenths of that gives no pod an address any more.
    pub give_back_after: Period,
}

impl Default for PodRangeSettings {
    fn default() -> Self {
        Self {
            mask_size_ipv4: 24,
            mask_size_ipv6: 64,
            give_back_after: Period::from_secs(3600),
        }
    }
}

impl PodRangeSettings {
    /// Length of a node's range of a family.
    pub const fn mask_size(&self, ipv4: bool) -> u8 {
        if ipv4 {
            self.mask_size_ipv4
        } else {
            self.mask_size_ipv6
        }
    }
}

/// Longest ranges that leave pods an address: the first two are not a pod's.
const LONGEST: [(u8, &str); 2] = [
    (30, "podRanges.maskSizeIPv4"),
    (126, "podRanges.maskSizeIPv6"),
];
/// Below this nobody could tell a node that is gone from a slow answer.
const SHORTEST: Period = Period::from_secs(2);

/// What cannot be: the field and why.
pub(super) fn check(config: &Configuration) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let settings = &config.pod_ranges;
    for (ipv4, (longest, path)) in [true, false].into_iter().zip(LONGEST) {
        let size = settings.mask_size(ipv4);
        if size > longest || size == 0 {
            wrong.push((path, format!("{size} is not 1 to {longest}")));
        }
        let narrow = |range: &&IpNetwork| range.is_ipv4() == ipv4 && range.prefix() > size;
        if let Some(range) = config.cluster_pod_cidrs.iter().find(narrow) {
            let message = format!("`{range}` has no room for a /{size} ({path})");
            wrong.push(("clusterPodCIDRs", message));
        }
    }
    if settings.give_back_after < SHORTEST {
        let message = format!("`{}` is shorter than {SHORTEST}", settings.give_back_after);
        wrong.push(("podRanges.giveBackAfter", message));
    }
    if config.ipam == Ipam::Node {
        return wrong;
    }
    if config.cluster_pod_cidrs.is_empty() {
        let message = "`cluster` needs clusterPodCIDRs to claim ranges of";
        wrong.push(("ipam", message.to_owned()));
    }
    if config.manifests.is_some() {
        let message =
            "`cluster` needs an API server, where ranges are claimed; there are manifests";
        wrong.push(("ipam", message.to_owned()));
    }
    if !config.node.pod_cidrs.is_empty() {
        let message = "goes with `ipam: node`; with `cluster` the annotation weir.dev/pod-cidrs of the Node names ranges";
        wrong.push(("node.podCIDRs", message.to_owned()));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(ranges: &[&str], change: impl FnOnce(&mut Configuration)) -> Vec<String> {
        let mut config = Configuration {
            ipam: Ipam::Cluster,
            cluster_pod_cidrs: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            ..Configuration::default()
        };
        change(&mut config);
        let wrong = check(&config).into_iter();
        wrong.map(|(path, why)| format!("{path}: {why}")).collect()
    }

    #[test]
    fn what_can_give_no_range_is_refused() {
        assert!(wrong(&["10.244.0.0/16", "fd00::/56"], |_| ()).is_empty());
        let none = wrong(&[], |_| ());
        assert_eq!(
            none,
            ["ipam: `cluster` needs clusterPodCIDRs to claim ranges of"]
        );
        let narrow = wrong(&["10.244.0.0/25"], |_| ());
        assert!(
            narrow[0].contains("`10.244.0.0/25` has no room for a /24"),
            "{narrow:?}"
        );
        let empty = wrong(&["10.244.0.0/16"], |config| {
            config.pod_ranges.mask_size_ipv4 = 31;
        });
        assert_eq!(empty, ["podRanges.maskSizeIPv4: 31 is not 1 to 30"]);
        let hasty = wrong(&["10.244.0.0/16"], |config| {
            config.pod_ranges.give_back_after = Period::from_millis(5);
        });
        assert!(
            hasty[0].starts_with("podRanges.giveBackAfter: "),
            "{hasty:?}"
        );
        let two = wrong(&["10.244.0.0/16"], |config| {
            config.node.pod_cidrs = vec!["10.1.0.0/24".parse().unwrap()];
        });
        assert!(
            two[0].starts_with("node.podCIDRs: goes with `ipam: node`"),
            "{two:?}"
        );
    }
}
