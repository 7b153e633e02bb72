//! Addresses for Services of `type: LoadBalancer`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    LoadBalancerSettings,
    format::{address_pattern, length_pattern, text_schema},
};

/// `spec.loadBalancerClass` of Services that the pools are for.
pub const LOAD_BALANCER_CLASS: &str = "weir.dev/load-balancer";

/// Addresses that Services of `type: LoadBalancer` are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("format" = "pool"))]
pub struct AddressPool {
    /// Its name, by which Services ask for it (annotation `weir.dev/address-pool`).
    pub name: String,
    /// Ranges: `192.0.2.0/28`, `192.0.2.32-192.0.2.40`, of both families. All addresses of a range are given.
    pub addresses: Vec<AddressRange>,
    /// Give its addresses also to Services that do not ask for it.
    #[serde(default = "yes")]
    pub auto_assign: bool,
}

const fn yes() -> bool {
    true
}

/// A range of addresses of one family, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The first address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// Of which family it is.
    pub const fn is_ipv6(&self) -> bool {
        self.first.is_ipv6()
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_ipv6() && self.first <= address && address <= self.last
    }

    /// How many addresses it has; the most that a number holds, if they are more.
    pub fn size(&self) -> u128 {
        number(self.last)
            .saturating_sub(number(self.first))
            .saturating_add(1)
    }

    /// An address of it, counted from 0.
    pub fn nth(&self, n: u128) -> Option<IpAddr> {
        let at = number(self.first).checked_add(n)?;
        (at <= number(self.last)).then(|| match self.first {
            IpAddr::V4(_) => Ipv4Addr::from_bits(at as u32).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(at).into(),
        })
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.is_ipv6() == other.is_ipv6() && self.first <= other.last && other.first <= self.last
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is neither a CIDR nor a range such as 192.0.2.32-192.0.2.40");
        if let Some((first, last)) = text.split_once('-') {
            let address = |text: &str| text.trim().parse::<IpAddr>().ok();
            let ends = address(first).zip(address(last)).ok_or_else(wrong)?;
            let (first, last) = ends;
            if first.is_ipv6() != last.is_ipv6() || first > last {
                return Err(wrong());
            }
            return Ok(Self { first, last });
        }
        let range: IpNetwork = text.trim().parse().ok().ok_or_else(wrong)?;
        let last = match range {
            IpNetwork::V4(range) => range.broadcast().into(),
            IpNetwork::V6(range) => range.broadcast().into(),
        };
        let first = range.network();
        Ok(Self { first, last })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

text_schema!(
    AddressRange,
    "address range",
    pattern = concat!(
        "^ *(",
        address_pattern!(v4),
        "(",
        length_pattern!(v4),
        "| *- *",
        address_pattern!(v4),
        ")?|",
        address_pattern!(v6),
        "(",
        length_pattern!(v6),
        "| *- *",
        address_pattern!(v6),
        ")?) *$"
    )
);

/// Link-local, multicast and the like can be nobody's address beyond a link.
fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_multicast())
        }
    }
}

impl LoadBalancerSettings {
    /// What of the pools cannot be.
    pub(super) fn check_pools(&self) -> Result<(), String> {
        for (i, pool) in self.pools.iter().enumerate() {
            let name = &pool.name;
            if name.is_empty() {
                return Err(format!("pool {i} has no name"));
            }
            if self.pools[..i].iter().any(|other| other.name == *name) {
                return Err(format!("two pools are called `{name}`"));
            }
            if pool.addresses.is_empty() {
                return Err(format!("pool `{name}` has no addresses"));
            }
            let ends = |range: &AddressRange| is_usable(range.first) && is_usable(range.last);
            if let Some(range) = pool.addresses.iter().find(|range| !ends(range)) {
                return Err(format!(
                    "`{range}` of pool `{name}` is no range of unicast addresses"
                ));
            }
        }
        let all = || {
            self.pools
                .iter()
                .flat_map(|pool| pool.addresses.iter().map(move |r| (pool, r)))
        };
        for (i, (pool, range)) in all().enumerate() {
            if let Some((other, taken)) = all().take(i).find(|(_, other)| other.overlaps(range)) {
                return Err(format!(
                    "`{range}` of pool `{}` overlaps `{taken}` of pool `{}`",
                    pool.name, other.name
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        let settings: LoadBalancerSettings = serde_saphyr::from_str(text).unwrap();
        settings.check_pools().unwrap_err()
    }

    #[test]
    fn ranges_are_cidrs_or_have_two_ends() {
        let v4 = range("192.0.2.9/28");
        assert_eq!(v4.to_string(), "192.0.2.0-192.0.2.15");
        assert_eq!((v4.size(), v4.nth(15)), (16, Some(v4.last())));
        assert_eq!(v4.nth(16), None);
        let v6 = range("2001:db8::1 - 2001:db8::3");
        assert_eq!((v6.size(), v6.nth(2)), (3, Some(v6.last())));
        assert_eq!(range("::/0").size(), u128::MAX);
        assert!(v6.contains(v6.first()) && !v6.contains(v4.first()));
        for wrong in [
            "",
            "192.0.2.9-192.0.2.1",
            "192.0.2.1-2001:db8::",
            "a-b",
            "192.0.2.0/33",
        ] {
            assert!(
                wrong
                    .parse::<AddressRange>()
                    .unwrap_err()
                    .contains("neither a CIDR")
            );
        }
    }

    #[test]
    fn pools_have_names_and_addresses_of_their_own() {
        let settings: LoadBalancerSettings = serde_saphyr::from_str(
            "pools: [{ name: a, addresses: [192.0.2.0/24, 2001:db8::/64] }]",
        )
        .unwrap();
        assert!(settings.check_pools().is_ok() && settings.pools[0].auto_assign);
        for (text, why) in [
            (
                "pools: [{ addresses: [192.0.2.0/24] }]",
                "pool 0 has no name",
            ),
            ("pools: [{ name: a }]", "pool `a` has no addresses"),
            (
                "pools: [{ name: a, addresses: [192.0.2.0/24] }, { name: b, addresses: [192.0.2.9-192.0.2.10] }]",
                "`192.0.2.9-192.0.2.10` of pool `b` overlaps `192.0.2.0-192.0.2.255` of pool `a`",
            ),
            (
                "pools: [{ name: a, addresses: [192.0.2.1/32] }, { name: a, addresses: [192.0.2.2/32] }]",
                "two pools are called `a`",
            ),
            (
                "pools: [{ name: a, addresses: [224.0.0.0/24] }]",
                "`224.0.0.0-224.0.0.255` of pool `a` is no range of unicast addresses",
            ),
        ] {
            assert_eq!(refused(text), why);
        }
    }
}
