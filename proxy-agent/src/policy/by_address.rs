//! A map by address.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::model::full;

/// A map by address. Each family has a tree of its own: a key of either takes as much memory as one of IPv6.
#[derive(Clone, Debug)]
pub struct ByAddress<V> {
    v4: BTreeMap<Ipv4Addr, V>,
    v6: BTreeMap<Ipv6Addr, V>,
}

impl<V> Default for ByAddress<V> {
    fn default() -> Self {
        Self {
            v4: BTreeMap::new(),
            v6: BTreeMap::new(),
        }
    }
}

impl<V> ByAddress<V> {
    /// The value of an address.
    pub fn get(&self, address: &IpAddr) -> Option<&V> {
        match address {
            IpAddr::V4(address) => self.v4.get(address),
            IpAddr::V6(address) => self.v6.get(address),
        }
    }

    /// Sets the value of an address; gives the one before.
    pub fn insert(&mut self, address: IpAddr, value: V) -> Option<V> {
        match address {
            IpAddr::V4(address) => self.v4.insert(address, value),
            IpAddr::V6(address) => self.v6.insert(address, value),
        }
    }

    /// Removes an address; gives its value.
    pub fn remove(&mut self, address: &IpAddr) -> Option<V> {
        match address {
            IpAddr::V4(address) => self.v4.remove(address),
            IpAddr::V6(address) => self.v6.remove(address),
        }
    }

    /// All addresses and their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &V)> {
        let v4 = self.v4.iter().map(|(a, v)| (IpAddr::V4(*a), v));
        v4.chain(self.v6.iter().map(|(a, v)| (IpAddr::V6(*a), v)))
    }

    /// All addresses, in order.
    pub fn keys(&self) -> impl Iterator<Item = IpAddr> {
        self.iter().map(|(address, _)| address)
    }

    /// How many addresses of a family there are.
    pub fn of_family(&self, ipv6: bool) -> usize {
        if ipv6 { self.v6.len() } else { self.v4.len() }
    }

    /// How many addresses there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives back the slack of many changes.
    pub fn compact(&mut self) {
        full(&mut self.v4);
        full(&mut self.v6);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::ByAddress;

    #[test]
    fn families_stay_apart() {
        let all = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "fd00::1"];
        let all = all.map(|ip| ip.parse::<IpAddr>().unwrap());
        let mut map = ByAddress::default();
        for (number, address) in all.iter().enumerate() {
            assert_eq!(map.insert(*address, number), None);
        }
        map.compact();
        assert_eq!(map.keys().collect::<Vec<_>>(), all);
        assert_eq!([false, true].map(|ipv6| map.of_family(ipv6)), [2, 2]);
        assert_eq!(map.insert(all[2], 7), Some(2));
        assert_eq!((map.remove(&all[0]), map.get(&all[0])), (Some(0), None));
        assert_eq!((map.get(&all[2]), map.len()), (Some(&7), 3));
    }
}
