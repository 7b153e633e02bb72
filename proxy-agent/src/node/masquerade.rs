//! Masquerade: over which families pods speak in the node's name, and what is inside, where they do not.

pub mod file;

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use proxy_common::inside::{
    INSIDE_CONFIGURED, INSIDE_LINK_LOCAL, INSIDE_MULTICAST, INSIDE_NODE, INSIDE_PODS,
    INSIDE_SERVICES,
};

use self::file::AgentFile;
use super::host_device::Ranges;
use crate::{
    config::{Configuration, Ipam},
    model::{Node, Snapshot},
};

/// Receivers that no flow has: multicast, the broadcast of all networks.
const MANY: [&str; 3] = ["224.0.0.0/4", "255.255.255.255/32", "ff00::/8"];
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

/// What there should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masquerade {
    /// Over IPv4 pods speak in the node's name.
    pub ipv4: bool,
    /// Over IPv6.
    pub ipv6: bool,
    /// What they reach under their own address, and why (`INSIDE_*`).
    pub inside: BTreeMap<IpNetwork, u32>,
    /// Whether all that is inside is known.
    pub complete: bool,
}

impl Masquerade {
    /// Of a node whose pods have these ranges. `services` is none while their ranges are not known.
    pub fn of(
        config: &Configuration,
        file: Option<&AgentFile>,
        pods: &[IpNetwork],
        snapshot: &Snapshot,
        services: Option<&Ranges>,
    ) -> Self {
        let settings = &config.masquerade;
        let mut inside = Inside::default();
        // What is said twice is what was said last: the most telling reason.
        let configured = settings.non_masquerade_cidrs.iter();
        let of_file = file.into_iter().flat_map(|file| &file.non_masquerade_cidrs);
        inside.add(configured.chain(of_file).copied(), INSIDE_CONFIGURED);
        inside.add(parsed(&MANY), INSIDE_MULTICAST);
        let named = [
            settings.masq_link_local || file.is_some_and(|file| file.masq_link_local),
            settings.masq_link_local_ipv6 || file.is_some_and(|file| file.masq_link_local_ipv6),
        ];
        let link_local = parsed(&LINK_LOCAL).zip(named);
        let own = link_local.filter(|(_, masqueraded)| !masqueraded);
        inside.add(own.map(|(range, _)| range), INSIDE_LINK_LOCAL);
        let services_ranges = services.into_iter().flat_map(|ranges| &ranges.ranges);
        inside.add(services_ranges.copied(), INSIDE_SERVICES);
        let nodes = || snapshot.nodes.values().map(AsRef::as_ref);
        inside.add(nodes().flat_map(addresses), INSIDE_NODE);
        inside.add(settings.cluster_cidrs.iter().copied(), INSIDE_PODS);
        if config.ipam == Ipam::Cluster {
            inside.add(config.cluster_pod_cidrs.iter().copied(), INSIDE_PODS);
        }
        inside.add(pods.iter().copied(), INSIDE_PODS);
        inside.add(
            nodes().flat_map(|node| node.pod_cidrs.iter().copied()),
            INSIDE_PODS,
        );
        Self {
            ipv4: settings.ipv4.holds(pods, true),
            ipv6: settings.ipv6.holds(pods, false),
            inside: inside.0,
            complete: services.is_some(),
        }
    }
}

/// Of other machines, only those by which nodes know each other lead there without a detour.
fn addresses(node: &Node) -> impl Iterator<Item = IpNetwork> {
    node.internal_ips.iter().map(|ip| IpNetwork::from(*ip))
}

fn parsed(texts: &[&str]) -> impl Iterator<Item = IpNetwork> {
    texts.iter().filter_map(|text| text.parse().ok())
}

#[derive(Default)]
struct Inside(BTreeMap<IpNetwork, u32>);

impl Inside {
    fn add(&mut self, ranges: impl IntoIterator<Item = IpNetwork>, reason: u32) {
        let whole = |range: IpNetwork| IpNetwork::new(range.network(), range.prefix()).ok();
        let ranges = ranges.into_iter().filter_map(whole);
        self.0.extend(ranges.map(|range| (range, reason)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proxy_common::inside::inside_name;

    use super::*;
    use crate::config::{MasqueradeSettings, Masquerading};

    fn nets(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn snapshot() -> Snapshot {
        let node = |number: u8| {
            let node = Node {
                name: format!("n{number}"),
                internal_ips: vec![[192, 0, 2, number].into()],
                addresses: vec![[192, 0, 2, number].into(), [198, 51, 100, number].into()],
                pod_cidrs: nets(&[
                    &format!("10.244.{number}.0/24"),
                    &format!("fd00:{number}::/64"),
                ]),
                ..Node::default()
            };
            (node.name.as_str().into(), Arc::new(node))
        };
        Snapshot {
            nodes: [node(1), node(2)].into(),
            ..Snapshot::default()
        }
    }

    fn of(settings: &MasqueradeSettings, file: Option<&AgentFile>) -> Masquerade {
        let services = Ranges {
            ranges: nets(&["10.96.0.0/16"]).into_iter().collect(),
            source: "configuration",
        };
        let pods = nets(&["10.244.1.0/24", "2001:db8::/64"]);
        let config = Configuration {
            masquerade: settings.clone(),
            cluster_pod_cidrs: nets(&["10.244.0.0/15"]),
            ..Configuration::default()
        };
        Masquerade::of(&config, file, &pods, &snapshot(), Some(&services))
    }

    fn words(masquerade: &Masquerade) -> Vec<String> {
        let inside = masquerade.inside.iter();
        inside
            .map(|(range, reason)| format!("{range} {}", inside_name(*reason)))
            .collect()
    }

    #[test]
    fn the_clusters_own_is_inside() {
        let masquerade = of(&MasqueradeSettings::default(), None);
        assert!(masquerade.ipv4 && !masquerade.ipv6, "public pods over IPv6");
        let expected = [
            "10.96.0.0/16 services",
            "10.244.1.0/24 pods",
            "10.244.2.0/24 pods",
            "169.254.0.0/16 link-local",
            "192.0.2.1/32 node",
            "192.0.2.2/32 node",
            "224.0.0.0/4 multicast",
            "255.255.255.255/32 multicast",
            "2001:db8::/64 pods",
            "fd00:1::/64 pods",
            "fd00:2::/64 pods",
            "fe80::/10 link-local",
            "ff00::/8 multicast",
        ];
        assert_eq!(words(&masquerade), expected);
    }

    #[test]
    fn what_nodes_may_claim_is_inside() {
        let config = Configuration {
            ipam: Ipam::Cluster,
            cluster_pod_cidrs: nets(&["10.240.0.0/12"]),
            ..Configuration::default()
        };
        let masquerade = Masquerade::of(&config, None, &[], &snapshot(), None);
        assert!(words(&masquerade).contains(&"10.240.0.0/12 pods".to_owned()));
    }

    #[test]
    fn settings_and_file_add_up() {
        let settings = MasqueradeSettings {
            ipv4: Masquerading::Never,
            ipv6: Masquerading::Always,
            cluster_cidrs: nets(&["10.244.7.9/16"]),
            non_masquerade_cidrs: nets(&["203.0.113.0/24"]),
            masq_link_local_ipv6: true,
            ..MasqueradeSettings::default()
        };
        let file = AgentFile {
            masq_link_local: true,
            ..AgentFile::default()
        };
        let masquerade = of(&settings, Some(&file));
        assert!(!masquerade.ipv4 && masquerade.ipv6);
        let words = words(&masquerade);
        for range in [
            "203.0.113.0/24",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
        ] {
            assert!(words.contains(&format!("{range} configured")), "{words:?}");
        }
        assert!(
            words.contains(&"10.244.0.0/16 pods".to_owned()),
            "{words:?}"
        );
        assert!(!words.iter().any(|word| word.contains("link-local")));
    }
}
