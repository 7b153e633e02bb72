//! How long packets may be: on the way to other nodes, and what is put around them.

use std::{collections::BTreeMap, net::IpAddr};

use cni_plugin::wiring::sizes::Sizes;
use ipnetwork::IpNetwork;
use proxy_common::tunnel::{ENCRYPTION_DEVICE, TUNNEL_DEVICE, TUNNEL_ROOM4, TUNNEL_ROOM6};

use super::Desired;
use crate::{
    config::{Configuration, Routing, Underlay},
    node::facts::{Facts, Interface},
};

/// MTU of pods where nothing says otherwise.
pub(super) const MTU: u32 = 1500;

impl Desired {
    /// The MTU of `weir_host`: what fits there fits the way out and pods.
    pub fn host_device_mtu(&self, config: &Configuration) -> u32 {
        match config.cni.mtu {
            0 => self.mtu,
            pods => self.mtu.min(pods),
        }
    }

    /// What the way to nodes will carry that are still to come.
    pub(super) fn alone(&self, config: &Configuration, outward: u32) -> u32 {
        match config.routing {
            Routing::Auto | Routing::Direct => outward,
            Routing::Tunnel | Routing::Hybrid => outward.saturating_sub(self.around_tunnel(config)),
        }
    }

    /// What the tunnel puts around a packet, as far as the node alone can tell.
    pub(super) fn around_tunnel(&self, config: &Configuration) -> u32 {
        self.around(config.tunnel.underlay, [TUNNEL_ROOM4, TUNNEL_ROOM6])
    }

    /// What is put around a packet over IPv4 or IPv6, as far as the node alone can tell.
    pub(super) fn around(&self, underlay: Underlay, [room4, room6]: [u32; 2]) -> u32 {
        let over_ipv4 = match underlay {
            Underlay::Auto => self.internal.iter().any(IpAddr::is_ipv4),
            underlay => underlay == Underlay::Ipv4,
        };
        if over_ipv4 { room4 } else { room6 }
    }

    /// How large packets of many segments may be in pods: what the links that carry them have been given.
    pub(super) fn sizes(&self, config: &Configuration, facts: &Facts) -> Sizes {
        let named = |name: &str| {
            let link = facts.interfaces.iter().find(|link| link.name == name);
            link.map_or_else(Sizes::default, |link| link.sizes)
        };
        let mut sizes = self
            .outward(facts)
            .map_or_else(Sizes::default, |link| link.sizes);
        if self.tunnel.is_used() {
            sizes = sizes.within(named(TUNNEL_DEVICE));
        }
        if config.encryption.is_on() {
            sizes = sizes.within(named(ENCRYPTION_DEVICE));
        }
        sizes.raised()
    }

    /// The link by which the node is known, or by which a default route leads.
    pub(super) fn outward<'a>(&self, facts: &'a Facts) -> Option<&'a Interface> {
        let chosen = |link: &&Interface| self.links.chosen.contains_key(&link.index);
        let mut known = self
            .internal
            .iter()
            .filter_map(|ip| facts.with_address(*ip));
        let defaults = facts.routing.defaults.iter();
        let mut defaults = defaults.filter_map(|route| facts.interface(route.index));
        known.find(chosen).or_else(|| defaults.find(chosen))
    }
}

/// What the tunnel to an end puts around a packet.
pub(super) const fn around(end: IpAddr) -> u32 {
    if end.is_ipv4() {
        TUNNEL_ROOM4
    } else {
        TUNNEL_ROOM6
    }
}

/// MTUs of routes, without those that are as the one around them has it.
pub(super) fn route_mtus(all: &BTreeMap<IpNetwork, u32>) -> BTreeMap<IpNetwork, u32> {
    let mut told = BTreeMap::new();
    // Those around the one in hand: a network comes before those within it.
    let mut around: Vec<(IpNetwork, u32)> = Vec::new();
    for (to, mtu) in all {
        let has =
            |outer: &IpNetwork| outer.is_ipv4() == to.is_ipv4() && outer.contains(to.network());
        while around.last().is_some_and(|(outer, _)| !has(outer)) {
            around.pop();
        }
        if around.last().map_or(0, |(_, mtu)| *mtu) != *mtu {
            told.insert(*to, *mtu);
        }
        around.push((*to, *mtu));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_within_one_with_an_mtu_are_told_where_they_differ() {
        let told = |all: &[(&str, u32)]| -> Vec<(String, u32)> {
            let all = all.iter().map(|(to, mtu)| (to.parse().unwrap(), *mtu));
            let told = route_mtus(&all.collect()).into_iter();
            told.map(|(to, mtu)| (to.to_string(), mtu)).collect()
        };
        let expect = |all: &[(&str, u32)]| -> Vec<(String, u32)> {
            all.iter()
                .map(|(to, mtu)| ((*to).to_owned(), *mtu))
                .collect()
        };
        let plain = [("0.0.0.0/0", 0), ("10.0.0.0/24", 0), ("::/0", 0)];
        assert_eq!(told(&plain), []);
        let all = [
            ("0.0.0.0/0", 1400),
            ("10.0.0.0/16", 1400),
            ("10.0.0.0/24", 0),
            ("10.0.0.7/32", 0),
            ("10.0.1.0/24", 1400),
            ("10.1.0.0/16", 0),
            ("10.1.2.0/24", 1300),
            ("::/0", 0),
            ("fd00::/64", 1280),
            ("fd00::1/128", 1280),
        ];
        let some = [
            ("0.0.0.0/0", 1400),
            ("10.0.0.0/24", 0),
            ("10.1.0.0/16", 0),
            ("10.1.2.0/24", 1300),
            ("fd00::/64", 1280),
        ];
        assert_eq!(told(&all), expect(&some));
    }
}
