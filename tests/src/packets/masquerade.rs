//! Filling the maps of masquerade: links, and what is inside.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use aya::maps::{LpmTrie, lpm_trie::Key};
use proxy_common::{
    inside::{INSIDE_PODS, Inside},
    node::{
        ADDRESS_LOCAL, LINK_LEFT_ALONE, LINK_TAKES_FRAMES, Link, NODE_FORWARD_BPF,
        NODE_HAS_ROUTE_MTUS, NODE_MASQUERADE4, NODE_MASQUERADE6, NodeConfig,
    },
};

use super::{
    bench::{Bench, index},
    fill::both,
    frame::RECEIVER,
    plan::{V4, V6},
};
use crate::family::{Family, Four, Six};

/// Both families are masqueraded.
pub const MASQUERADE: u32 = NODE_MASQUERADE4 | NODE_MASQUERADE6;

impl Bench {
    /// As [`Self::new`], where what pods send out of the cluster by the uplink leaves in the node's name.
    pub fn masquerading() -> Result<Self> {
        let mut bench = Self::new()?;
        bench.masquerade()?;
        Ok(bench)
    }

    /// What pods send out of the cluster by the uplink leaves in the node's name from now on.
    pub fn masquerade(&mut self) -> Result<()> {
        self.configure(NODE_FORWARD_BPF | MASQUERADE)?;
        self.link("net0", [V4.node, V6.node])?;
        for plan in [V4, V6] {
            let bits = if plan.is_ipv6() { 64 } else { 24 };
            self.inside(plan.remote_pod, bits, INSIDE_PODS)?;
        }
        Ok(())
    }

    /// Makes an interface a link of ours, with the node's addresses there.
    pub fn link(&mut self, name: &str, addresses: [IpAddr; 2]) -> Result<()> {
        let (address4, address6) = both(addresses)?;
        let link = Link {
            address4,
            address6,
            flags: if name == "net0" { 0 } else { LINK_TAKES_FRAMES },
            mac: RECEIVER,
            pad: [0; 2],
        };
        // The node's own serve more than others.
        let others = addresses
            .into_iter()
            .filter(|ip| ![V4.node, V6.node].contains(ip));
        for address in others {
            self.node_address(address, ADDRESS_LOCAL)?;
        }
        Ok(self.hash("LINKS")?.insert(index(name)?, link, 0)?)
    }

    /// Makes an interface one that has no program of ours.
    pub fn leave_alone(&mut self, name: &str) -> Result<()> {
        let link = Link {
            flags: LINK_LEFT_ALONE,
            ..Link::default()
        };
        Ok(self.hash("LINKS")?.insert(index(name)?, link, 0)?)
    }

    /// Puts a range inside, where pods speak under their own address, for this reason (`INSIDE_*`).
    pub fn inside(&mut self, address: IpAddr, bits: u32, reason: u32) -> Result<()> {
        self.inside_of::<Four>(address, bits, reason)?;
        self.inside_of::<Six>(address, bits, reason)
    }

    fn inside_of<F: Family>(&mut self, address: IpAddr, bits: u32, reason: u32) -> Result<()> {
        if let Some(address) = F::address(address) {
            let name = F::map("INSIDE");
            let map = self.ebpf.map_mut(&name).context("the map is there")?;
            let mut map: LpmTrie<_, F::Address, Inside> = LpmTrie::try_from(map)?;
            map.insert(&Key::new(bits, address), Inside { reason }, 0)?;
        }
        Ok(())
    }

    /// The route to a range has this MTU.
    pub fn route_mtu(&mut self, address: IpAddr, bits: u32, mtu: u32) -> Result<()> {
        self.amend(|config| NodeConfig {
            flags: config.flags | NODE_HAS_ROUTE_MTUS,
            ..config
        })?;
        self.route_mtu_of::<Four>(address, bits, mtu)?;
        self.route_mtu_of::<Six>(address, bits, mtu)
    }

    fn route_mtu_of<F: Family>(&mut self, address: IpAddr, bits: u32, mtu: u32) -> Result<()> {
        if let Some(address) = F::address(address) {
            let name = F::map("ROUTE_MTUS");
            let map = self.ebpf.map_mut(&name).context("the map is there")?;
            let mut map: LpmTrie<_, F::Address, u32> = LpmTrie::try_from(map)?;
            map.insert(&Key::new(bits, address), mtu, 0)?;
        }
        Ok(())
    }

    /// Changes the node's flags.
    pub fn set_flags(&mut self, flags: u32) -> Result<()> {
        self.amend(|config| NodeConfig { flags, ..config })
    }

    /// From now on no flow may begin, or any may again.
    pub fn settle(&mut self, settles: bool) -> Result<()> {
        let settles = if settles { u32::MAX } else { 0 };
        self.amend(|config| NodeConfig { settles, ..config })
    }

    pub(super) fn amend(&mut self, change: impl Fn(NodeConfig) -> NodeConfig) -> Result<()> {
        let mut map = self.array::<NodeConfig>("NODE_CONFIG")?;
        let config = map.get(&0, 0)?;
        Ok(map.set(0, change(config), 0)?)
    }
}
