//! Entries of `SOURCES*`: ranges of clients that may use the load balancer's addresses of a Service port.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use proxy_common::{
    address::{address4, address6, octets4, octets6},
    sources::{SOURCE_ALLOWED, SourceKey, SourceKey4, SourceKey6},
};

use crate::{
    datapath::{mirror::Written, prefix::Prefix},
    model::Service,
};

/// Bits of `SourceKey::service`, which are matched whole.
const SERVICE_BITS: u32 = u32::BITS;

/// A key of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// In `SOURCES4`.
    V4(Prefix<SourceKey4>),
    /// In `SOURCES6`.
    V6(Prefix<SourceKey6>),
}

impl Source {
    /// A range of a Service port, which has its id.
    pub fn new(service: u32, range: IpNetwork) -> Self {
        let length = SERVICE_BITS + u32::from(range.prefix());
        match range.network() {
            IpAddr::V4(a) => Self::V4(Prefix {
                length,
                data: SourceKey {
                    service,
                    address: address4(a.octets()),
                },
            }),
            IpAddr::V6(a) => Self::V6(Prefix {
                length,
                data: SourceKey {
                    service,
                    address: address6(a.octets()),
                },
            }),
        }
    }

    /// The id of the Service port.
    pub const fn service(&self) -> u32 {
        match self {
            Self::V4(key) => key.data.service,
            Self::V6(key) => key.data.service,
        }
    }

    /// The range; none for an entry that is not ours.
    pub fn range(&self) -> Option<IpNetwork> {
        let bits = |length: u32| u8::try_from(length.checked_sub(SERVICE_BITS)?).ok();
        match self {
            Self::V4(key) => {
                let range =
                    Ipv4Network::new(octets4(key.data.address).into(), bits(key.length)?).ok()?;
                Some(range.into())
            }
            Self::V6(key) => {
                let range =
                    Ipv6Network::new(octets6(key.data.address).into(), bits(key.length)?).ok()?;
                Some(range.into())
            }
        }
    }
}

/// The ranges of a Service in one family, as kube-proxy has them (`pkg/proxy/nftables/proxier.go`): none means that
/// everybody may use its load balancer's addresses. Where one of them has the node's address, those addresses may be
/// sources too: what the node sends to one that it has itself comes from there.
pub fn wanted(service: &Service, ipv6: bool, node: Option<IpAddr>) -> BTreeSet<IpNetwork> {
    let ranges = service.load_balancer_source_ranges().iter();
    let mut ranges: BTreeSet<IpNetwork> = ranges.filter(|r| r.is_ipv6() == ipv6).copied().collect();
    if node.is_some_and(|node| ranges.iter().any(|range| range.contains(node))) {
        let addresses = service.load_balancer_ips().iter();
        let addresses = addresses.filter(|address| address.is_ipv6() == ipv6);
        ranges.extend(addresses.map(|address| IpNetwork::from(*address)));
    }
    ranges
}

/// What the maps are known to hold.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    by_service: BTreeMap<u32, BTreeSet<Source>>,
    /// How many of each family.
    counts: [usize; 2],
}

impl Sources {
    /// Notes an entry that was written.
    pub fn insert(&mut self, source: Source) {
        let of = self.by_service.entry(source.service()).or_default();
        self.counts[family(&source)] += usize::from(of.insert(source));
    }

    /// Notes an entry that was removed.
    pub fn remove(&mut self, source: &Source) {
        let Some(of) = self.by_service.get_mut(&source.service()) else {
            return;
        };
        self.counts[family(source)] -= usize::from(of.remove(source));
        if of.is_empty() {
            self.by_service.remove(&source.service());
        }
    }

    /// Whether there is such an entry.
    pub fn has(&self, source: &Source) -> bool {
        let of = self.by_service.get(&source.service());
        of.is_some_and(|of| of.contains(source))
    }

    /// Those of a Service port.
    pub fn of(&self, service: u32) -> impl Iterator<Item = &Source> {
        self.by_service.get(&service).into_iter().flatten()
    }

    /// Ids of the Service ports that have some.
    pub fn services(&self) -> impl Iterator<Item = u32> {
        self.by_service.keys().copied()
    }

    /// How many there are, IPv4's first.
    pub const fn counts(&self) -> [usize; 2] {
        self.counts
    }

    fn all(&self) -> impl Iterator<Item = &Source> {
        self.by_service.values().flatten()
    }
}

const fn family(source: &Source) -> usize {
    match source {
        Source::V4(_) => 0,
        Source::V6(_) => 1,
    }
}

/// `SOURCES4`, in the order of Service ports.
pub struct Sources4<'a>(pub &'a Sources);
/// `SOURCES6`.
pub struct Sources6<'a>(pub &'a Sources);

/// The picture of a family's map.
macro_rules! written {
    ($name:ident, $variant:ident, $key:ty, $count:literal) => {
        impl Written<Prefix<$key>, u32> for $name<'_> {
            fn len(&self) -> usize {
                self.0.counts[$count]
            }

            fn get(&self, key: &Prefix<$key>) -> Option<u32> {
                self.0
                    .has(&Source::$variant(*key))
                    .then_some(SOURCE_ALLOWED)
            }

            fn after(&self, key: Option<&Prefix<$key>>, limit: usize) -> Vec<Prefix<$key>> {
                let place = |key: &Prefix<$key>| (key.data.service, *key);
                let last = key.map(place);
                let keys = self.0.all().filter_map(|source| match source {
                    Source::$variant(key) => Some(*key),
                    _ => None,
                });
                keys.filter(|key| last.is_none_or(|last| place(key) > last))
                    .take(limit)
                    .collect()
            }
        }
    };
}

written!(Sources4, V4, SourceKey4, 0);
written!(Sources6, V6, SourceKey6, 1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::External;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn of(ranges: &[&str], ipv6: bool, node: &str) -> Vec<String> {
        let service = Service {
            external: External {
                load_balancer_ips: ["198.51.100.1", "198.51.100.2", "2001:db8::1"]
                    .map(|a| a.parse().unwrap())
                    .into(),
                load_balancer_source_ranges: ranges.iter().map(|r| net(r)).collect(),
                ..External::default()
            }
            .boxed(),
            ..Service::default()
        };
        let wanted = wanted(&service, ipv6, Some(node.parse().unwrap()));
        wanted.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ranges_of_the_other_family_do_not_count() {
        let ranges = ["203.0.113.0/24", "2001:db8:1::/48"];
        assert_eq!(of(&ranges, false, "172.30.0.1"), ["203.0.113.0/24"]);
        assert_eq!(of(&ranges, true, "fd00::1"), ["2001:db8:1::/48"]);
        assert!(of(&ranges[..1], true, "fd00::1").is_empty());
    }

    #[test]
    fn where_the_node_is_allowed_the_addresses_are_sources() {
        let expected = ["172.30.0.0/16", "198.51.100.1/32", "198.51.100.2/32"];
        assert_eq!(of(&["172.30.0.0/16"], false, "172.30.0.1"), expected);
        assert_eq!(of(&["172.30.0.0/16"], false, "172.31.0.1"), expected[..1]);
        let expected = ["::/0", "2001:db8::1/128"];
        assert_eq!(of(&["::/0"], true, "fd00::1"), expected);
    }

    #[test]
    fn a_key_is_its_port_and_range() {
        for range in ["0.0.0.0/0", "10.1.0.0/16", "::/0", "2001:db8::1/128"] {
            let source = Source::new(7, net(range));
            assert_eq!((source.service(), source.range()), (7, Some(net(range))));
        }
    }
}
