//! Which addresses are Services'.

use std::{collections::BTreeSet, net::IpAddr};

use ipnetwork::IpNetwork;

use crate::model::Snapshot;

/// What the API server says of its ranges (`ServiceCIDR`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Published {
    /// It has not answered yet.
    #[default]
    Unknown,
    /// It knows no such objects (before Kubernetes 1.33), or there is no API server.
    Absent,
    /// These.
    Ranges(BTreeSet<IpNetwork>),
}

/// Ranges and where they are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// The ranges.
    pub ranges: BTreeSet<IpNetwork>,
    /// In words.
    pub source: &'static str,
}

/// Bits of the networks that stand for the cluster IPs in them, where nobody names the ranges: few enough that
/// nothing else is likely to be in them, many enough that routes stay few.
const DERIVED: (u8, u8) = (24, 112);

/// The configured ranges, else those of the API server, else what holds the cluster IPs. None while it is not known.
pub fn ranges(
    configured: &[IpNetwork],
    published: &Published,
    snapshot: &Snapshot,
) -> Option<Ranges> {
    if !configured.is_empty() {
        return Some(Ranges {
            ranges: configured.iter().map(whole).collect(),
            source: "configuration",
        });
    }
    match published {
        Published::Unknown => None,
        Published::Ranges(ranges) => Some(Ranges {
            ranges: ranges.iter().map(whole).collect(),
            source: "ServiceCIDRs",
        }),
        Published::Absent => Some(Ranges {
            ranges: derived(snapshot),
            source: "ClusterIPs",
        }),
    }
}

fn derived(snapshot: &Snapshot) -> BTreeSet<IpNetwork> {
    let services = snapshot.services.values();
    let ips = services.flat_map(|service| service.cluster_ips.iter());
    ips.filter_map(|ip| {
        let bits = match ip {
            IpAddr::V4(_) => DERIVED.0,
            IpAddr::V6(_) => DERIVED.1,
        };
        Some(whole(&IpNetwork::new(ip, bits).ok()?))
    })
    .collect()
}

/// The same range, named by its first address.
fn whole(range: &IpNetwork) -> IpNetwork {
    IpNetwork::new(range.network(), range.prefix()).unwrap_or(*range)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{ObjectName, Service};

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn snapshot() -> Snapshot {
        let ips = [
            ["10.96.0.1", "fd00:96::1"],
            ["10.96.0.77", "fd00:96::77"],
            ["10.96.3.1", "fd00:96::1:1"],
        ];
        let services = ips.into_iter().enumerate().map(|(number, ips)| {
            let name = ObjectName::new("default", format!("s{number}"));
            let service = Service {
                name: name.clone(),
                cluster_ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
                ..Service::default()
            };
            (name, Arc::new(service))
        });
        Snapshot {
            services: services.collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn what_is_configured_comes_before_what_is_published_before_what_is_seen() {
        let published = Published::Ranges([net("10.97.0.0/16")].into());
        let of = |configured: &[IpNetwork], published| {
            ranges(configured, published, &snapshot()).unwrap().ranges
        };
        let configured = [net("10.98.3.4/16")];
        assert_eq!(of(&configured, &published), [net("10.98.0.0/16")].into());
        assert_eq!(of(&[], &published), [net("10.97.0.0/16")].into());
        let seen = [
            "10.96.0.0/24",
            "10.96.3.0/24",
            "fd00:96::/112",
            "fd00:96::1:0/112",
        ];
        assert_eq!(of(&[], &Published::Absent), seen.map(net).into());
    }

    #[test]
    fn nothing_is_derived_while_the_api_server_may_still_say() {
        assert_eq!(ranges(&[], &Published::Unknown, &snapshot()), None);
    }
}
