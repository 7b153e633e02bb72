//! What the maps hold: the tables, and a picture of what was written to them, kept true write by write. Plans
//! start from the picture; what an outside hand changed is found by comparing the two.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proxy_common::{
    address::{address4, address6, octets4, octets6},
    policy::peers::{CidrKey4, CidrKey6, Peer, PeerKey4, PeerKey6},
};

use super::{
    by_address::ByAddress,
    classes::{ClassId, Classes},
    prefix_map::{PrefixMap, truncate},
    reclaim::Reclaim,
    tables::PolicyTables,
};
use crate::datapath::{prefix::Prefix, table::TableError};

/// Bits of `side` in the key of a trie.
pub const SIDE_BITS: u32 = 32;

/// The maps and the picture of them.
pub struct Kernel {
    /// The maps.
    pub tables: PolicyTables,
    /// Which half of `PEERS*` and `CIDRS*` is kept.
    pub side: u32,
    /// Exact entries of this side.
    pub peers: ByAddress<Peer>,
    /// Prefixes of this side.
    pub cidrs: PrefixMap<Peer>,
    /// `POLICY_CELLS` as far as rows are in force.
    pub cells: Picture,
    /// `POLICY_WORDS`.
    pub words: Picture,
    /// Classes that entries of this side name.
    pub classes: Classes,
    /// Writes of entries, ever.
    pub writes: usize,
}

impl Kernel {
    /// Over these maps, of which nothing is known.
    pub fn new(tables: PolicyTables) -> Self {
        Self {
            cells: Picture::new(tables.cells.len()),
            words: Picture::new(tables.words.len()),
            tables,
            side: 0,
            peers: ByAddress::default(),
            cidrs: PrefixMap::default(),
            classes: Classes::default(),
            writes: 0,
        }
    }

    /// The class that an address falls to.
    pub fn class_of(&self, address: IpAddr) -> Option<ClassId> {
        let exact = self.peers.get(&address);
        exact
            .or_else(|| self.cidrs.lookup(address).map(|(_, peer)| peer))
            .map(|peer| peer.class)
    }

    /// How many prefixes of this side `CIDRS4` and `CIDRS6` can hold beside those of the other side that still wait.
    pub fn cidr_room(&self, reclaim: &Reclaim) -> [u32; 2] {
        let capacity = [self.tables.cidrs4.capacity(), self.tables.cidrs6.capacity()];
        let waiting = reclaim.other_cidr_count();
        [0, 1].map(|family| capacity[family].saturating_sub(waiting[family]))
    }

    /// Stores a cell.
    pub fn set_cell(&mut self, index: u32, cell: u64) {
        self.tables.cells.set(index, cell);
        self.cells.set(index, cell);
    }

    /// Stores a word.
    pub fn set_word(&mut self, id: u32, word: u64) {
        self.tables.words.set(id, word);
        self.words.set(id, word);
    }

    /// Sets an exact entry.
    pub fn set_peer(&mut self, address: IpAddr, peer: Peer) -> Result<(), TableError> {
        let side = self.side;
        match address {
            IpAddr::V4(_) => self.tables.peers4.set(&key4(side, address), &peer)?,
            IpAddr::V6(_) => self.tables.peers6.set(&key6(side, address), &peer)?,
        }
        self.writes += 1;
        self.classes.enter(peer.class);
        if let Some(before) = self.peers.insert(address, peer) {
            self.classes.leave(before.class);
        }
        Ok(())
    }

    /// Removes an exact entry.
    pub fn remove_peer(&mut self, address: IpAddr) -> Result<(), TableError> {
        remove_peer(&mut self.tables, self.side, address)?;
        self.writes += 1;
        if let Some(before) = self.peers.remove(&address) {
            self.classes.leave(before.class);
        }
        Ok(())
    }

    /// Sets a prefix.
    pub fn set_cidr(&mut self, prefix: IpNetwork, peer: Peer) -> Result<(), TableError> {
        let side = self.side;
        match prefix {
            IpNetwork::V4(_) => self.tables.cidrs4.set(&prefix4(side, prefix), &peer)?,
            IpNetwork::V6(_) => self.tables.cidrs6.set(&prefix6(side, prefix), &peer)?,
        }
        self.writes += 1;
        self.classes.enter(peer.class);
        if let Some(before) = self.cidrs.insert(prefix, peer) {
            self.classes.leave(before.class);
        }
        Ok(())
    }

    /// Removes a prefix.
    pub fn remove_cidr(&mut self, prefix: IpNetwork) -> Result<(), TableError> {
        remove_cidr(&mut self.tables, self.side, prefix)?;
        self.writes += 1;
        if let Some(before) = self.cidrs.remove(prefix) {
            self.classes.leave(before.class);
        }
        Ok(())
    }
}

/// What was written to an array of words.
#[derive(Debug)]
pub struct Picture(Vec<u64>);

impl Picture {
    /// All zero. Pages that are never written take no memory.
    pub fn new(len: u32) -> Self {
        Self(vec![0; len as usize])
    }

    /// The array has so many words from now on.
    pub fn resize(&mut self, len: u32) {
        let before = std::mem::replace(self, Self::new(len));
        for (index, word) in before.iter().filter(|(_, word)| *word != 0) {
            self.set(index, word);
        }
    }

    /// How many words there are.
    pub fn size(&self) -> u32 {
        self.0.len() as u32
    }

    /// One word; 0 beyond the end.
    pub fn get(&self, index: u32) -> u64 {
        self.0.get(index as usize).copied().unwrap_or(0)
    }

    /// Takes note of a word.
    pub fn set(&mut self, index: u32, word: u64) {
        if let Some(known) = self.0.get_mut(index as usize) {
            *known = word;
        }
    }

    /// All words, by index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        (0..).zip(self.0.iter().copied())
    }
}

/// Removes an exact entry of either side.
pub fn remove_peer(
    tables: &mut PolicyTables,
    side: u32,
    address: IpAddr,
) -> Result<(), TableError> {
    match address {
        IpAddr::V4(_) => tables.peers4.remove(&key4(side, address)),
        IpAddr::V6(_) => tables.peers6.remove(&key6(side, address)),
    }
}

/// Removes a prefix of either side.
pub fn remove_cidr(
    tables: &mut PolicyTables,
    side: u32,
    prefix: IpNetwork,
) -> Result<(), TableError> {
    match prefix {
        IpNetwork::V4(_) => tables.cidrs4.remove(&prefix4(side, prefix)),
        IpNetwork::V6(_) => tables.cidrs6.remove(&prefix6(side, prefix)),
    }
}

/// All exact entries: side, address, value.
pub fn read_peers(tables: &PolicyTables) -> Result<Vec<(u32, IpAddr, Peer)>, TableError> {
    let v4 = tables.peers4.entries()?.into_iter();
    let v6 = tables.peers6.entries()?.into_iter();
    let v4 = v4.map(|(k, v)| (peer_of4(&k), v));
    let all = v4.chain(v6.map(|(k, v)| (peer_of6(&k), v)));
    Ok(all.map(|((side, address), v)| (side, address, v)).collect())
}

/// All prefixes: side, prefix, value.
pub fn read_cidrs(tables: &PolicyTables) -> Result<Vec<(u32, IpNetwork, Peer)>, TableError> {
    let v4 = tables.cidrs4.entries()?.into_iter();
    let v6 = tables.cidrs6.entries()?.into_iter();
    let v4 = v4.filter_map(|(k, v)| Some((prefix_of4(&k)?, v)));
    let all = v4.chain(v6.filter_map(|(k, v)| Some((prefix_of6(&k)?, v))));
    Ok(all.map(|((side, prefix), v)| (side, prefix, v)).collect())
}

/// Side and address of a key of `PEERS4`.
pub fn peer_of4(key: &PeerKey4) -> (u32, IpAddr) {
    (key.side, octets4(key.address).into())
}

/// Side and address of a key of `PEERS6`.
pub fn peer_of6(key: &PeerKey6) -> (u32, IpAddr) {
    (key.side, octets6(key.address).into())
}

/// Side and prefix of a key of `CIDRS4`; none if it has no whole side.
pub fn prefix_of4(key: &Prefix<CidrKey4>) -> Option<(u32, IpNetwork)> {
    let length = key.length.checked_sub(SIDE_BITS)? as u8;
    let prefix = truncate(octets4(key.data.address).into(), length)?;
    Some((key.data.side, prefix))
}

/// Side and prefix of a key of `CIDRS6`; none if it has no whole side.
pub fn prefix_of6(key: &Prefix<CidrKey6>) -> Option<(u32, IpNetwork)> {
    let length = key.length.checked_sub(SIDE_BITS)? as u8;
    let prefix = truncate(octets6(key.data.address).into(), length)?;
    Some((key.data.side, prefix))
}

/// Key of `PEERS4`; `0.0.0.0` for an address of the other family.
pub fn key4(side: u32, address: IpAddr) -> PeerKey4 {
    let octets = match address {
        IpAddr::V4(a) => a.octets(),
        IpAddr::V6(_) => [0; 4],
    };
    PeerKey4 {
        side,
        address: address4(octets),
    }
}

/// Key of `PEERS6`; an IPv4 address is mapped.
pub fn key6(side: u32, address: IpAddr) -> PeerKey6 {
    let octets = match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    };
    PeerKey6 {
        side,
        address: address6(octets),
    }
}

/// Key of `CIDRS4`.
pub fn prefix4(side: u32, prefix: IpNetwork) -> Prefix<CidrKey4> {
    Prefix {
        length: SIDE_BITS + u32::from(prefix.prefix()),
        data: CidrKey4 {
            side,
            address: key4(side, prefix.network()).address,
        },
    }
}

/// Key of `CIDRS6`.
pub fn prefix6(side: u32, prefix: IpNetwork) -> Prefix<CidrKey6> {
    Prefix {
        length: SIDE_BITS + u32::from(prefix.prefix()),
        data: CidrKey6 {
            side,
            address: key6(side, prefix.network()).address,
        },
    }
}
