//! Longest-prefix match on the host: the picture of a trie in the kernel.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

/// A map from prefixes of both families to values.
#[derive(Clone, Debug)]
pub struct PrefixMap<V> {
    /// By family (true for IPv6) and length.
    levels: BTreeMap<(bool, u8), HashMap<IpAddr, V>>,
}

impl<V> Default for PrefixMap<V> {
    fn default() -> Self {
        Self {
            levels: BTreeMap::new(),
        }
    }
}

impl<V> PrefixMap<V> {
    /// Sets the value of a prefix (host bits are ignored); gives the one before.
    pub fn insert(&mut self, prefix: IpNetwork, value: V) -> Option<V> {
        self.levels
            .entry((prefix.is_ipv6(), prefix.prefix()))
            .or_default()
            .insert(prefix.network(), value)
    }

    /// Removes a prefix.
    pub fn remove(&mut self, prefix: IpNetwork) -> Option<V> {
        let key = (prefix.is_ipv6(), prefix.prefix());
        let level = self.levels.get_mut(&key)?;
        let value = level.remove(&prefix.network());
        if level.is_empty() {
            self.levels.remove(&key);
        }
        value
    }

    /// The value of exactly this prefix.
    pub fn get(&self, prefix: IpNetwork) -> Option<&V> {
        self.levels
            .get(&(prefix.is_ipv6(), prefix.prefix()))?
            .get(&prefix.network())
    }

    /// The longest prefix that holds an address.
    pub fn lookup(&self, address: IpAddr) -> Option<(IpNetwork, &V)> {
        self.longest(address, 129)
    }

    /// The longest prefix that holds all of `prefix` and more.
    pub fn parent(&self, prefix: IpNetwork) -> Option<(IpNetwork, &V)> {
        self.longest(prefix.network(), prefix.prefix())
    }

    fn longest(&self, address: IpAddr, below: u8) -> Option<(IpNetwork, &V)> {
        let family = address.is_ipv6();
        self.levels
            .range((family, 0)..(family, below))
            .rev()
            .find_map(|((_, length), level)| {
                let prefix = truncate(address, *length)?;
                level.get(&prefix.network()).map(|v| (prefix, v))
            })
    }

    /// All prefixes, shortest first within a family.
    pub fn iter(&self) -> impl Iterator<Item = (IpNetwork, &V)> {
        self.levels.iter().flat_map(|((_, length), level)| {
            level
                .iter()
                .filter_map(|(address, v)| Some((truncate(*address, *length)?, v)))
        })
    }

    /// How many prefixes of a family there are.
    pub fn of_family(&self, ipv6: bool) -> usize {
        let levels = self.levels.range((ipv6, 0)..=(ipv6, u8::MAX));
        levels.map(|(_, level)| level.len()).sum()
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.levels.values().map(HashMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }
}

/// The prefix of this length that holds an address; none if the family has no such length.
pub fn truncate(address: IpAddr, length: u8) -> Option<IpNetwork> {
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let network = Ipv4Network::new((u32::from(a) & mask).into(), length).ok()?;
            Some(network.into())
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            let network = Ipv6Network::new((u128::from(a) & mask).into(), length).ok()?;
            Some(network.into())
        }
    }
}

/// A prefix without host bits.
pub fn canonical(prefix: IpNetwork) -> IpNetwork {
    truncate(prefix.ip(), prefix.prefix()).unwrap_or(prefix)
}

/// Whether `outer` holds all of `inner`.
pub fn covers(outer: IpNetwork, inner: IpNetwork) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins_and_families_stay_apart() {
        let mut map = PrefixMap::default();
        for prefix in ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "::/0"] {
            map.insert(net(prefix), prefix);
        }
        let at = |a: &str| map.lookup(a.parse().unwrap()).map(|(_, v)| *v);
        assert_eq!(at("10.1.2.3"), Some("10.1.0.0/16"));
        assert_eq!(at("10.2.2.3"), Some("10.0.0.0/8"));
        assert_eq!(at("11.2.2.3"), Some("0.0.0.0/0"));
        assert_eq!(at("::ffff:10.1.2.3"), Some("::/0"));
        let parent = map.parent(net("10.1.0.0/16")).map(|(p, _)| p);
        assert_eq!(parent, Some(net("10.0.0.0/8")));
        assert_eq!(map.parent(net("::/0")).map(|(p, _)| p), None);
    }

    #[test]
    fn host_bits_do_not_count() {
        assert_eq!(canonical(net("10.1.2.3/16")), net("10.1.0.0/16"));
        assert!(covers(net("0.0.0.0/0"), net("10.0.0.0/8")));
        assert!(!covers(net("10.0.0.0/8"), net("0.0.0.0/0")));
        assert!(!covers(net("0.0.0.0/0"), net("::/0")));
    }
}
