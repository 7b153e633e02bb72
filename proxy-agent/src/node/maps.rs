//! `NODE_CONFIG`, `NODE_ADDRESSES*`, `NODE_RANGES*`, `ROUTE_MTUS*`, `INSIDE*` and `LINKS`.

mod entries;

use std::{collections::BTreeMap, fmt::Debug, net::IpAddr, time::Duration};

use anyhow::Context as _;
use ipnetwork::IpNetwork;
use proxy_common::{
    address::{Address4, Address6, address4, address6, octets4, octets6},
    inside::{Inside, InsideKey4, InsideKey6},
    node::{
        LINK_DECRYPTS, LINK_WITHOUT_ETHERNET, Link as LinkEntry, MtuKey4, MtuKey6, NODE_HAS_RANGES,
        NODE_HAS_ROUTE_MTUS, NODE_RELAYS, NodeConfig, RangeKey4, RangeKey6,
    },
    route_sources::{RouteSourceKey4, RouteSourceKey6},
    tunnel::{TUNNEL_CLOSED, TUNNEL_ENCRYPTED, TUNNEL_SEND, TunnelKey4, TunnelKey6, TunnelPeer},
};

use self::entries::{by_family, inside, links, sources, tunnels, value};
use super::{desired::Desired, tunnel::Tunnel};
use crate::{
    config::Configuration,
    datapath::{Kept, Maps, Mended, Mirror, Round, TableError, prefix::Prefix, shared::Standing},
    subject::Room,
};

/// The node's maps.
pub struct NodeMaps {
    standing: Standing,
    config: Mirror<u32, NodeConfig>,
    addresses4: Mirror<Address4, u32>,
    addresses6: Mirror<Address6, u32>,
    ranges4: Mirror<Prefix<RangeKey4>, u32>,
    ranges6: Mirror<Prefix<RangeKey6>, u32>,
    mtus4: Mirror<Prefix<MtuKey4>, u32>,
    mtus6: Mirror<Prefix<MtuKey6>, u32>,
    links: Mirror<u32, LinkEntry>,
    inside4: Mirror<Prefix<InsideKey4>, Inside>,
    inside6: Mirror<Prefix<InsideKey6>, Inside>,
    sources4: Mirror<Prefix<RouteSourceKey4>, Address4>,
    sources6: Mirror<Prefix<RouteSourceKey6>, Address6>,
    tunnels4: Mirror<Prefix<TunnelKey4>, TunnelPeer>,
    tunnels6: Mirror<Prefix<TunnelKey6>, TunnelPeer>,
    /// What found no room when they were written last.
    room: Room,
}

impl NodeMaps {
    /// Begins with what a former agent left.
    pub fn open(maps: &Maps) -> Result<Self, TableError> {
        Ok(Self {
            standing: maps.standing.clone(),
            config: Mirror::open(Box::new(maps.node_config.clone()))?,
            addresses4: Mirror::open(Box::new(maps.node_addresses4.clone()))?,
            addresses6: Mirror::open(Box::new(maps.node_addresses6.clone()))?,
            ranges4: Mirror::open(Box::new(maps.node_ranges4.clone()))?,
            ranges6: Mirror::open(Box::new(maps.node_ranges6.clone()))?,
            mtus4: Mirror::open(Box::new(maps.route_mtus4.clone()))?,
            mtus6: Mirror::open(Box::new(maps.route_mtus6.clone()))?,
            links: Mirror::open(Box::new(maps.links.clone()))?,
            inside4: Mirror::open(Box::new(maps.inside4.clone()))?,
            inside6: Mirror::open(Box::new(maps.inside6.clone()))?,
            sources4: Mirror::open(Box::new(maps.route_sources4.clone()))?,
            sources6: Mirror::open(Box::new(maps.route_sources6.clone()))?,
            tunnels4: Mirror::open(Box::new(maps.tunnels4.clone()))?,
            tunnels6: Mirror::open(Box::new(maps.tunnels6.clone()))?,
            room: Room::new(),
        })
    }

    /// Whether what other nodes relay is taken now.
    pub fn relays(&self) -> bool {
        let config = self.config();
        config.is_some_and(|config| config.flags & NODE_RELAYS != 0)
    }

    /// Whether anything is sent by the tunnel still, by what was written last: until [`Self::leave_tunnel`] routes may lead there.
    pub fn sends(&self) -> bool {
        let v4 = self.tunnels4.written().values();
        let mut all = v4.chain(self.tunnels6.written().values());
        all.any(|peer| peer.flags & (TUNNEL_SEND | TUNNEL_ENCRYPTED | TUNNEL_CLOSED) == TUNNEL_SEND)
    }

    /// What was written last to `NODE_CONFIG`.
    pub fn config(&self) -> Option<NodeConfig> {
        self.config.written().get(&0).copied()
    }

    /// Which maps have no room, and how many entries wait for it.
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// The addresses of both families, with what each serves.
    pub fn addresses(&self) -> BTreeMap<IpAddr, u32> {
        let v4 = self.addresses4.written().iter();
        let v6 = self.addresses6.written().iter();
        let v4 = v4.map(|(address, flags)| (IpAddr::from(octets4(*address)), *flags));
        let v6 = v6.map(|(address, flags)| (IpAddr::from(octets6(*address)), *flags));
        v4.chain(v6).collect()
    }

    /// The large ranges of both families, with what their addresses serve.
    pub fn ranges(&self) -> BTreeMap<IpNetwork, u32> {
        let v4 = self.ranges4.written().iter();
        let v6 = self.ranges6.written().iter();
        let v4 = v4.map(|(key, flags)| (IpAddr::from(octets4(key.data)), key.length, *flags));
        let v6 = v6.map(|(key, flags)| (IpAddr::from(octets6(key.data)), key.length, *flags));
        let ranges = v4.chain(v6).filter_map(|(ip, length, flags)| {
            let range = IpNetwork::new(ip, u8::try_from(length).ok()?).ok()?;
            Some((range, flags))
        });
        ranges.collect()
    }

    /// What the kernel has refused when they were written last.
    pub fn refused(&self) -> Option<&str> {
        let refused = [
            self.config.refused(),
            self.addresses4.refused(),
            self.addresses6.refused(),
            self.ranges4.refused(),
            self.ranges6.refused(),
            self.mtus4.refused(),
            self.mtus6.refused(),
            self.links.refused(),
            self.inside4.refused(),
            self.inside6.refused(),
            self.sources4.refused(),
            self.sources6.refused(),
            self.tunnels4.refused(),
            self.tunnels6.refused(),
        ];
        refused.into_iter().flatten().next()
    }

    fn mirrors(&mut self) -> [&mut dyn Kept; 14] {
        [
            &mut self.config,
            &mut self.addresses4,
            &mut self.addresses6,
            &mut self.ranges4,
            &mut self.ranges6,
            &mut self.mtus4,
            &mut self.mtus6,
            &mut self.links,
            &mut self.inside4,
            &mut self.inside6,
            &mut self.sources4,
            &mut self.sources6,
            &mut self.tunnels4,
            &mut self.tunnels6,
        ]
    }

    /// Brings the maps in step, also with what somebody else changed: how many entries that were. Addresses that the machine
    /// has lost go last, and only if `complete`: before the Node is known the internal ones are not.
    pub fn write(
        &mut self,
        config: &Configuration,
        desired: &Desired,
        devices: [u32; 2],
        complete: bool,
    ) -> (usize, anyhow::Result<()>) {
        let standing = self.standing.clone();
        let _held = standing.hold();
        self.room.clear();
        // Whatever is wanted still is tried again.
        for mirror in self.mirrors() {
            mirror.forgive(Duration::ZERO);
        }
        let written = self.write_wanted(config, desired, devices, complete);
        let Mended { entries, failed } = Round::all(&mut self.mirrors());
        let mended = failed.map_or(Ok(()), |error| Err(error.into()));
        (entries, written.and(mended))
    }

    fn write_wanted(
        &mut self,
        config: &Configuration,
        desired: &Desired,
        [host_device, tunnel_device]: [u32; 2],
        complete: bool,
    ) -> anyhow::Result<()> {
        // What is inside is there before anything is masqueraded.
        let inside = desired.masquerade.as_ref().map(inside);
        if let Some((v4, v6)) = &inside {
            insert(&mut self.inside4, v4, &mut self.room)?;
            insert(&mut self.inside6, v6, &mut self.room)?;
        }
        let (v4, v6) = tunnels(&desired.tunnel, true);
        insert(&mut self.tunnels4, &v4, &mut self.room)?;
        insert(&mut self.tunnels6, &v6, &mut self.room)?;
        let mut value = NodeConfig {
            tunnel_device,
            tunnel_mtu: desired.tunnel.mtu,
            tunnel_vni: config.tunnel.vni,
            // Others may take what comes from here, whether or not anything is sent.
            tunnel_port: if desired.tunnel.has_device() {
                config.tunnel.port.to_be()
            } else {
                0
            },
            ..value(config, desired, host_device)
        };
        if desired.tunnel.relays && tunnel_device != 0 {
            value.flags |= NODE_RELAYS;
        }
        if !desired.addresses.ranges.is_empty() {
            value.flags |= NODE_HAS_RANGES;
        }
        let (mtus4, mtus6) = by_family(desired.route_mtus.iter().map(|(to, mtu)| (*to, *mtu)));
        if !desired.route_mtus.is_empty() {
            value.flags |= NODE_HAS_ROUTE_MTUS;
        }
        insert(&mut self.mtus4, &mtus4, &mut self.room)?;
        insert(&mut self.mtus6, &mtus6, &mut self.room)?;
        let written = self.config.insert(&[(0, value)].into());
        written.context("write the node's configuration")?;
        let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
        for (ip, flags) in &desired.addresses.flags {
            match ip {
                IpAddr::V4(ip) => drop(v4.insert(address4(ip.octets()), *flags)),
                IpAddr::V6(ip) => drop(v6.insert(address6(ip.octets()), *flags)),
            }
        }
        insert(&mut self.addresses4, &v4, &mut self.room)?;
        insert(&mut self.addresses6, &v6, &mut self.room)?;
        let (sources4, sources6) = sources(&desired.links.by_route);
        insert(&mut self.sources4, &sources4, &mut self.room)?;
        insert(&mut self.sources6, &sources6, &mut self.room)?;
        let ranges = desired.addresses.ranges.iter();
        let (ranges4, ranges6) = by_family(ranges.map(|(range, flags)| (*range, *flags)));
        insert(&mut self.ranges4, &ranges4, &mut self.room)?;
        insert(&mut self.ranges6, &ranges6, &mut self.room)?;
        let mut links = links(&desired.links, config.xdp);
        let [encryption, _] = desired.tunnel.encryption;
        if encryption != 0 {
            let flags = LINK_WITHOUT_ETHERNET | LINK_DECRYPTS;
            let device = LinkEntry {
                flags,
                ..LinkEntry::default()
            };
            links.insert(encryption, device);
        }
        insert(&mut self.links, &links, &mut self.room)?;
        if complete {
            self.addresses4.retain(&v4)?;
            self.addresses6.retain(&v6)?;
            self.ranges4.retain(&ranges4)?;
            self.ranges6.retain(&ranges6)?;
        }
        let known = desired.masquerade.as_ref().is_some_and(|m| m.complete);
        if let Some((v4, v6)) = inside.filter(|_| complete && known) {
            self.inside4.retain(&v4)?;
            self.inside6.retain(&v6)?;
        }
        self.mtus4.retain(&mtus4)?;
        self.mtus6.retain(&mtus6)?;
        // A link that is gone has no source that anybody could ask for.
        self.links.retain(&links)?;
        self.sources4.retain(&sources4)?;
        self.sources6.retain(&sources6)?;
        Ok(())
    }

    /// Takes out of the maps who is not reached by the tunnel any more, once routes lead elsewhere; nodes that are gone only if
    /// all are known (`complete`).
    pub fn leave_tunnel(&mut self, tunnel: &Tunnel, complete: bool) -> anyhow::Result<()> {
        let standing = self.standing.clone();
        let _held = standing.hold();
        let (v4, v6) = tunnels(tunnel, false);
        insert(&mut self.tunnels4, &v4, &mut self.room)?;
        insert(&mut self.tunnels6, &v6, &mut self.room)?;
        if complete {
            self.tunnels4.retain(&v4)?;
            self.tunnels6.retain(&v6)?;
        }
        Ok(())
    }
}

/// Writes what is missing, and notes how much of it finds no room.
fn insert<K: Copy + Ord + Debug, V: Copy + PartialEq + Debug>(
    mirror: &mut Mirror<K, V>,
    wanted: &BTreeMap<K, V>,
    room: &mut Room,
) -> Result<(), TableError> {
    let inserted = mirror.insert(wanted);
    if let Err(TableError::Full { map, .. }) = &inserted {
        let written = mirror.written();
        let waits = wanted.keys().filter(|key| !written.contains_key(key));
        let waits = u32::try_from(waits.count()).unwrap_or(u32::MAX);
        room.insert(map.clone(), waits);
    }
    inserted.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::{Faults, MemoryTable};

    #[test]
    fn what_finds_no_room_is_told_at_once_and_whole() {
        let table = MemoryTable::<u32, u32>::new("INSIDE4", 4, Faults::new(1, 0));
        let mut mirror = Mirror::open(Box::new(table)).unwrap();
        let (mut room, wanted) = (Room::new(), |n: u32| (0..n).map(|key| (key, 1)).collect());
        insert(&mut mirror, &wanted(4), &mut room).unwrap();
        assert!(room.is_empty());
        insert(&mut mirror, &wanted(1000), &mut room).unwrap_err();
        assert_eq!(room, Room::from([("INSIDE4".to_owned(), 996)]));
    }
}
