//! Maps in memory that fail when told, and call back after every write.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use ipnetwork::IpNetwork;
use proxy_agent::{
    datapath::{
        prefix::Prefix,
        table::{Table, TableError},
        words::Words,
    },
    policy::{
        PolicyTables,
        kernel::{SIDE_BITS, prefix4, prefix6},
        prefix_map::{PrefixMap, truncate},
        view::PolicyView,
    },
};
use proxy_common::{
    address::{octets4, octets6},
    policy::{
        intervals::IntervalBlock,
        peers::{CidrKey4, CidrKey6, Peer, PeerKey4, PeerKey6},
    },
};

/// Called after each write: the maps, and the index of a cell if one was written.
pub type Watch = Box<dyn FnMut(&Contents, Option<u32>) + Send>;

/// What the maps hold.
#[derive(Clone, Debug)]
pub struct Contents {
    /// `POLICY_WORDS`.
    pub words: Vec<u64>,
    /// `POLICY_CELLS`.
    pub cells: Vec<u64>,
    /// `PEERS4` and `PEERS6`.
    pub peers: HashMap<(u32, IpAddr), Peer>,
    /// `CIDRS4` and `CIDRS6` by side.
    pub ranges: [PrefixMap<Peer>; 2],
    /// `INTERVALS`.
    pub blocks: BTreeMap<u32, IntervalBlock>,
    /// The most prefixes that either trie ever held.
    pub most_cidrs: usize,
}

impl Contents {
    /// Prefixes of a family, of both sides.
    pub fn cidrs(&self, ipv6: bool) -> usize {
        self.ranges.iter().map(|side| side.of_family(ipv6)).sum()
    }
}

struct Inner {
    contents: Contents,
    watch: Option<Watch>,
    chance: u64,
    seed: u64,
    /// Writes until the writer dies.
    left: Option<u64>,
    /// Capacity of `INTERVALS`.
    block_count: u32,
    /// Capacity of `CIDRS4` and of `CIDRS6`.
    cidr_count: u32,
}

/// The maps. Clones share them.
#[derive(Clone)]
pub struct PolicyMaps(Arc<Mutex<Inner>>);

impl PolicyMaps {
    /// Empty maps with room for this many strides of cells.
    pub fn new(strides: usize) -> Self {
        Self::with(strides, 256, 64)
    }

    /// Empty maps with room for this many strides of cells, blocks, and endpoints.
    pub fn with(strides: usize, blocks: u32, endpoints: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            contents: Contents {
                words: vec![0; endpoints],
                cells: vec![0; strides * 64],
                peers: HashMap::new(),
                ranges: [PrefixMap::default(), PrefixMap::default()],
                blocks: BTreeMap::new(),
                most_cidrs: 0,
            },
            watch: None,
            chance: 0,
            seed: 0,
            left: None,
            block_count: blocks,
            cidr_count: 1 << 16,
        })))
    }

    /// From now on `CIDRS4` and `CIDRS6` have room for so many prefixes.
    pub fn limit_cidrs(&self, capacity: u32) {
        self.0.lock().unwrap().cidr_count = capacity;
    }

    /// From now on they have room for so much, as maps of other capacities that took their place.
    pub fn resize(&self, strides: usize, blocks: u32, cidrs: u32) {
        let mut inner = self.0.lock().unwrap();
        inner.contents.cells.resize(strides * 64, 0);
        inner.block_count = blocks;
        inner.cidr_count = cidrs;
    }

    /// From now on, this percentage of writes of tables fails.
    pub fn fail(&self, percent: u64, seed: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.chance = percent;
        inner.seed = seed;
    }

    /// After this many writes the writer is dead: it believes that it writes, and nothing happens. None: it
    /// lives.
    pub fn die_after(&self, writes: Option<u64>) {
        self.0.lock().unwrap().left = writes;
    }

    /// Watches every write from now on.
    pub fn watch(&self, watch: Option<Watch>) {
        self.0.lock().unwrap().watch = watch;
    }

    /// What the maps hold now.
    pub fn contents(&self) -> Contents {
        self.0.lock().unwrap().contents.clone()
    }

    /// Changes the maps behind the engine's back.
    pub fn tamper(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.0.lock().unwrap().contents);
    }

    /// The maps as the engine takes them.
    pub fn tables(&self) -> PolicyTables {
        PolicyTables {
            peers4: Box::new(self.clone()),
            peers6: Box::new(self.clone()),
            cidrs4: Box::new(self.clone()),
            cidrs6: Box::new(self.clone()),
            intervals: Box::new(self.clone()),
            cells: Box::new(Array {
                maps: self.clone(),
                is_cells: true,
            }),
            words: Box::new(Array {
                maps: self.clone(),
                is_cells: false,
            }),
        }
    }

    fn write(&self, key: &dyn Debug, change: impl FnOnce(&mut Contents)) -> Result<(), TableError> {
        let mut inner = self.0.lock().unwrap();
        inner.seed = inner
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        if (inner.seed >> 33) % 100 < inner.chance {
            return Err(TableError::Kernel {
                operation: "write",
                map: "memory".into(),
                key: format!("{key:?}"),
                source: io::Error::other("made to fail"),
            });
        }
        if inner.lives() {
            change(&mut inner.contents);
            inner.tell(None);
        }
        Ok(())
    }
}

impl Inner {
    fn lives(&mut self) -> bool {
        match &mut self.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    fn tell(&mut self, cell: Option<u32>) {
        if let Some(watch) = &mut self.watch {
            watch(&self.contents, cell);
        }
    }
}

struct Array {
    maps: PolicyMaps,
    is_cells: bool,
}

impl Words for Array {
    fn len(&self) -> u32 {
        let inner = self.maps.0.lock().unwrap();
        let contents = &inner.contents;
        (if self.is_cells {
            contents.cells.len()
        } else {
            contents.words.len()
        }) as u32
    }

    fn get(&self, index: u32) -> u64 {
        let inner = self.maps.0.lock().unwrap();
        let contents = &inner.contents;
        let words = if self.is_cells {
            &contents.cells
        } else {
            &contents.words
        };
        words.get(index as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, index: u32, word: u64) {
        let mut inner = self.maps.0.lock().unwrap();
        if !inner.lives() {
            return;
        }
        let contents = &mut inner.contents;
        let words = if self.is_cells {
            &mut contents.cells
        } else {
            &mut contents.words
        };
        words[index as usize] = word;
        inner.tell(self.is_cells.then_some(index));
    }
}

macro_rules! table {
    ($key:ty, $value:ty, $name:literal, $capacity:expr, $get:expr, $set:expr, $remove:expr, $entries:expr) => {
        impl Table<$key, $value> for PolicyMaps {
            fn name(&self) -> &str {
                $name
            }
            fn capacity(&self) -> u32 {
                let capacity: fn(&Inner) -> u32 = $capacity;
                capacity(&self.0.lock().unwrap())
            }
            fn get(&self, key: &$key) -> Result<Option<$value>, TableError> {
                let get: fn(&Contents, &$key) -> Option<$value> = $get;
                Ok(get(&self.0.lock().unwrap().contents, key))
            }
            fn set(&mut self, key: &$key, value: &$value) -> Result<(), TableError> {
                let set: fn(&mut Contents, &$key, &$value) = $set;
                self.write(key, |contents| set(contents, key, value))
            }
            fn remove(&mut self, key: &$key) -> Result<(), TableError> {
                let remove: fn(&mut Contents, &$key) = $remove;
                self.write(key, |contents| remove(contents, key))
            }
            fn entries(&self) -> Result<Vec<($key, $value)>, TableError> {
                let entries: fn(&Contents) -> Vec<($key, $value)> = $entries;
                Ok(entries(&self.0.lock().unwrap().contents))
            }
        }
    };
}

fn v4(address: u32) -> IpAddr {
    octets4(address).into()
}

fn v6(address: [u32; 4]) -> IpAddr {
    octets6(address).into()
}

fn range4(key: &Prefix<CidrKey4>) -> IpNetwork {
    truncate(v4(key.data.address), (key.length - SIDE_BITS) as u8).unwrap()
}

fn range6(key: &Prefix<CidrKey6>) -> IpNetwork {
    truncate(v6(key.data.address), (key.length - SIDE_BITS) as u8).unwrap()
}

fn ranges(contents: &Contents, ipv6: bool) -> Vec<(u32, IpNetwork, Peer)> {
    let sides = [0_u32, 1].into_iter();
    sides
        .flat_map(|side| {
            let all = contents.ranges[side as usize].iter();
            all.map(move |(prefix, peer)| (side, prefix, *peer))
        })
        .filter(|(_, prefix, _)| prefix.is_ipv6() == ipv6)
        .collect()
}

table!(
    PeerKey4,
    Peer,
    "PEERS4",
    |_| 1 << 16,
    |c, k| c.peers.get(&(k.side, v4(k.address))).copied(),
    |c, k, v| {
        c.peers.insert((k.side, v4(k.address)), *v);
    },
    |c, k| {
        c.peers.remove(&(k.side, v4(k.address)));
    },
    |c| c
        .peers
        .iter()
        .filter_map(|((side, a), v)| match a {
            IpAddr::V4(_) => Some((proxy_agent::policy::kernel::key4(*side, *a), *v)),
            IpAddr::V6(_) => None,
        })
        .collect()
);
table!(
    PeerKey6,
    Peer,
    "PEERS6",
    |_| 1 << 16,
    |c, k| c.peers.get(&(k.side, v6(k.address))).copied(),
    |c, k, v| {
        c.peers.insert((k.side, v6(k.address)), *v);
    },
    |c, k| {
        c.peers.remove(&(k.side, v6(k.address)));
    },
    |c| c
        .peers
        .iter()
        .filter_map(|((side, a), v)| match a {
            IpAddr::V6(_) => Some((proxy_agent::policy::kernel::key6(*side, *a), *v)),
            IpAddr::V4(_) => None,
        })
        .collect()
);
table!(
    Prefix<CidrKey4>,
    Peer,
    "CIDRS4",
    |i| i.cidr_count,
    |c, k| c.ranges[k.data.side as usize].get(range4(k)).copied(),
    |c, k, v| {
        c.ranges[k.data.side as usize].insert(range4(k), *v);
        c.most_cidrs = c.most_cidrs.max(c.cidrs(false));
    },
    |c, k| {
        c.ranges[k.data.side as usize].remove(range4(k));
    },
    |c| ranges(c, false)
        .into_iter()
        .map(|(side, p, v)| (prefix4(side, p), v))
        .collect()
);
table!(
    Prefix<CidrKey6>,
    Peer,
    "CIDRS6",
    |i| i.cidr_count,
    |c, k| c.ranges[k.data.side as usize].get(range6(k)).copied(),
    |c, k, v| {
        c.ranges[k.data.side as usize].insert(range6(k), *v);
        c.most_cidrs = c.most_cidrs.max(c.cidrs(true));
    },
    |c, k| {
        c.ranges[k.data.side as usize].remove(range6(k));
    },
    |c| ranges(c, true)
        .into_iter()
        .map(|(side, p, v)| (prefix6(side, p), v))
        .collect()
);
table!(
    u32,
    IntervalBlock,
    "INTERVALS",
    |i| i.block_count,
    |c, k| c.blocks.get(k).copied(),
    |c, k, v| {
        c.blocks.insert(*k, *v);
    },
    |c, k| {
        c.blocks.remove(k);
    },
    |c| c.blocks.iter().map(|(k, v)| (*k, *v)).collect()
);

impl PolicyView for Contents {
    fn word(&self, endpoint: u32) -> u64 {
        self.words.get(endpoint as usize).copied().unwrap_or(0)
    }

    fn cell(&self, index: u32) -> u64 {
        self.cells.get(index as usize).copied().unwrap_or(0)
    }

    fn peer(&self, side: u32, address: IpAddr) -> Result<Option<Peer>, TableError> {
        Ok(self.peers.get(&(side, address)).copied())
    }

    fn range(&self, side: u32, address: IpAddr) -> Result<Option<(IpNetwork, Peer)>, TableError> {
        Ok(self.ranges[side as usize]
            .lookup(address)
            .map(|(p, v)| (p, *v)))
    }

    fn block(&self, number: u32) -> Result<Option<IntervalBlock>, TableError> {
        Ok(self.blocks.get(&number).copied())
    }
}
