//! How long packets may be: on the way to other nodes, and what is put around them.

use std::net::IpAddr;

use cni_plugin::wiring::sizes::Sizes;
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
