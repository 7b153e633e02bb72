//! Filling the maps of what is relayed: the tunnel, and who is behind it.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::maps::{LpmTrie, lpm_trie::Key};
use proxy_common::{
    address::{address4, address6, mapped},
    host::HOST_DEVICE,
    node::{NODE_RELAYS, NodeConfig},
    tunnel::{TUNNEL_OVER_IPV6, TunnelPeer},
};

use super::bench::{Bench, index};
use crate::{
    family::{Family, Four, Six},
    vxlan::{TUNNEL, VNI},
};

impl Bench {
    /// Has a tunnel that takes what is relayed, with room for packets of this length.
    pub fn relay(&mut self, mtu: u32) -> Result<()> {
        let tunnel_device = index(HOST_DEVICE)?;
        self.amend(|config| NodeConfig {
            flags: config.flags | NODE_RELAYS,
            tunnel_device,
            tunnel_mtu: mtu,
            tunnel_port: TUNNEL.to_be(),
            tunnel_vni: VNI,
            ..config
        })
    }

    /// Puts a range, or an address, behind the node that ends the tunnel at `end`; `TUNNEL_*` bits.
    pub fn behind(&mut self, address: IpAddr, bits: u32, end: IpAddr, flags: u32) -> Result<()> {
        let (address_of_end, family) = match end {
            IpAddr::V4(end) => (mapped(address4(end.octets())), 0),
            IpAddr::V6(end) => (address6(end.octets()), TUNNEL_OVER_IPV6),
        };
        let peer = TunnelPeer {
            address: address_of_end,
            flags: flags | family,
        };
        self.behind_of::<Four>(address, bits, peer)?;
        self.behind_of::<Six>(address, bits, peer)
    }

    fn behind_of<F: Family>(&mut self, address: IpAddr, bits: u32, peer: TunnelPeer) -> Result<()> {
        if let Some(address) = F::address(address) {
            let name = F::map("TUNNELS");
            let map = self.ebpf.map_mut(&name).context("the map is there")?;
            let mut tunnels = LpmTrie::<_, F::Address, TunnelPeer>::try_from(map)?;
            tunnels.insert(&Key::new(bits, address), peer, 0)?;
        }
        Ok(())
    }
}
