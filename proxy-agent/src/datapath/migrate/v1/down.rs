//! Maps of schema 1 from ours, for an agent of that version that is to be started.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
    os::fd::{AsFd as _, OwnedFd},
};

use proxy_common::{
    address::{Address4, Address6},
    frontends::{FLAG_SOURCES, Frontend},
    v1,
};

use super::{
    CHANGED,
    descent::Descent,
    empty, entries,
    lists::{self, Laid},
    node::Here,
    publish, share,
    up::{INTERVALS, table},
};
use crate::datapath::{
    bpfsys::{
        link, map,
        object::{self, MapInfo},
        program::{self, Loaded},
    },
    error::DatapathError,
    load,
    maps::Maps,
    migrate::{resize::stores, settle},
    object as ebpf_object,
    pins::{self, Pins},
    programs::{
        Hook,
        blocks::{self, Blocks},
        exchange,
    },
    schema,
    table::Table,
};

/// Links that schema 1 knows, by their programs.
const KNOWN: [&str; 9] = [
    "to_pod",
    "to_net",
    "from_pod",
    "from_net",
    "from_host",
    "getpeername4",
    "getpeername6",
    "connect4",
    "connect6",
];
/// Of these, those that see packets: the flows go with them.
const PACKETS: [&str; 5] = ["to_pod", "to_net", "from_pod", "from_net", "from_host"];

const HASH: u32 = 1;
const ARRAY: u32 = 2;
const LRU_HASH: u32 = 9;
/// `BPF_F_NO_PREALLOC`.
const NO_PREALLOC: u32 = 1;

/// The maps of schema 1 that ours do not have, or have otherwise, for so many flows, pods and blocks of lists.
fn own_maps(conntrack: u32, endpoints: u32, blocks: u32) -> Vec<(&'static str, MapInfo)> {
    let map = |kind, key_size, value_size, max_entries, flags| MapInfo {
        kind,
        id: 0,
        key_size,
        value_size,
        max_entries,
        flags,
    };
    let hash = |key, value, entries| map(HASH, key, value, entries, NO_PREALLOC);
    let evicts = |key, value, entries| map(LRU_HASH, key, value, entries, 0);
    // Most flows have two entries, some three.
    let (entries, waiting) = (conntrack.saturating_mul(3), conntrack.div_ceil(4));
    vec![
        ("CONNTRACK4", hash(20, 36, entries)),
        ("CONNTRACK6", hash(44, 60, entries)),
        ("NEW_FLOWS4", evicts(20, 36, waiting)),
        ("NEW_FLOWS6", evicts(44, 60, waiting)),
        ("NEW_FLOWS_END", map(ARRAY, 4, 4, 1, 0)),
        ("ENDPOINTS", hash(4, 40, endpoints)),
        ("LOCAL_PODS4", hash(4, 24, endpoints)),
        ("LOCAL_PODS6", hash(16, 24, endpoints)),
        ("SOCKET_REVERSE4", evicts(16, 8, waiting)),
        ("SOCKET_REVERSE6", evicts(32, 20, waiting)),
        ("NODE_CONFIG", map(ARRAY, 4, 48, 1, 0)),
        (INTERVALS, map(ARRAY, 4, 256, blocks, 0)),
    ]
}

/// Leaves what an agent of schema 1 expects: its maps, filled, and the links under its names. Our programs, which are still
/// attached, go on by our maps, which nothing names any more, until [`Handover::step`] has put its own in their place. No
/// agent of ours may run.
pub fn down(pins: &Pins, instance: &str) -> Result<Handover, DatapathError> {
    let old = pins.of_schema(v1::SCHEMA);
    let mut maps = Maps::open(pins)?;
    withdraw_ranged(&mut maps.frontends4)?;
    withdraw_ranged(&mut maps.frontends6)?;
    let building = old.building();
    empty(&building)?;
    let lists = lists(&maps)?;
    let blocks = maps.intervals.capacity().max(lists::capacity(&lists));
    let mut own = own_maps(maps.flows4.capacity(), maps.endpoints.capacity(), blocks);
    for name in POLICY {
        let path = pins.map(name);
        own.extend(load::pinned(&path)?.map(|info| (name, info)));
    }
    for name in ebpf_object::maps(&crate::datapath::Capacities::default())?.into_keys() {
        let is_own = own.iter().any(|(own, _)| *own == name);
        if !is_own && !NEW.contains(&name.as_str()) {
            share(&name, &pins.map(&name), &building.join(&name), None)?;
        }
    }
    for (name, info) in &own {
        let path = building.join(name);
        let made = map::create(info).and_then(|map| object::pin(map, &path));
        made.map_err(DatapathError::file("make", path))?;
    }
    publish(&building, &old.maps())?;
    fill(&old, &maps)?;
    for name in POLICY {
        let path = old.map(name);
        let copy = object::open_map(&path).map_err(DatapathError::corrupt(&path))?;
        if let Some(map) = maps.resizable(name) {
            map.follow(copy).map_err(DatapathError::corrupt(&path))?;
            let copied = map.refresh();
            let is_whole = map.make_firm();
            map.unfollow();
            copied?;
            if !is_whole {
                let map = name.to_owned();
                return Err(DatapathError::Outgrown { map });
            }
        }
    }
    let mut intervals = table::<u32, v1::IntervalBlock>(&old, INTERVALS)?;
    for (number, block) in &lists {
        intervals.set(number, block)?;
    }
    let mut handover = Handover::open(&old, pins, &maps, Blocks::of(instance))?;
    handover.pass()?;
    schema::record_as(&old, [u64::from(v1::SCHEMA), v1::HASH])?;
    fs::create_dir_all(old.links()).map_err(DatapathError::file("create", old.links()))?;
    handover.move_links(pins)?;
    for folder in [pins.links(), pins.next(), pins.building(), pins.maps()] {
        pins::discard(&folder)?;
    }
    let schema = pins.meta();
    pins::discard(schema.parent().unwrap_or(&schema))?;
    Ok(handover)
}

/// Maps that are alike in both schemas, but that are not shared: what the other agent writes to them goes with its lists of
/// ports, and our programs know only ours. So each version's policy is whole as long as programs of both run.
const POLICY: [&str; 6] = [
    "POLICY_WORDS",
    "POLICY_CELLS",
    "PEERS4",
    "PEERS6",
    "CIDRS4",
    "CIDRS6",
];

/// Blocks of lists of schema 1.
fn lists(maps: &Maps) -> Result<Laid<v1::IntervalBlock>, DatapathError> {
    let rows = (&maps.policy_words, &maps.policy_cells);
    let lists = lists::read_trees(rows, |number| maps.intervals.get(&number))?;
    let (blocks, too_long) = lists::down(&lists);
    if too_long > 0 {
        tracing::warn!(
            lists = too_long,
            "policies with more ranges of ports than the other version knows: what is beyond the first 160 is denied"
        );
    }
    Ok(blocks)
}

/// Maps that schema 1 does not know.
const NEW: [&str; 26] = [
    "FLOWS4",
    "FLOWS6",
    "FLOW_INDEX4",
    "FLOW_INDEX6",
    "INTERFACES",
    "CLIENTS",
    "SERVICE_EPOCH",
    "MAGLEV",
    "LINKS",
    "NODE_PORTS",
    "INSIDE4",
    "INSIDE6",
    "ROUTE_SOURCES4",
    "ROUTE_SOURCES6",
    "TUNNELS4",
    "TUNNELS6",
    "SOURCES4",
    "SOURCES6",
    "VIPS4",
    "VIPS6",
    "RELAYS",
    "PACES",
    "NODE_RANGES4",
    "NODE_RANGES6",
    "ROUTE_MTUS4",
    "ROUTE_MTUS6",
];

/// Schema 1 knows no source ranges and would serve everybody: its agent leaves such addresses alone, and so must its programs
/// until then.
fn withdraw_ranged<K: Copy + Ord + Debug>(
    frontends: &mut dyn Table<K, Frontend>,
) -> Result<(), DatapathError> {
    for (key, frontend) in frontends.entries()? {
        if frontend.flags & FLAG_SOURCES != 0 {
            frontends.remove(&key)?;
        }
    }
    Ok(())
}

fn fill(old: &Pins, maps: &Maps) -> Result<(), DatapathError> {
    let mut endpoints = table::<u32, v1::Endpoint>(old, "ENDPOINTS")?;
    let mut local4 = table::<Address4, v1::LocalPod>(old, "LOCAL_PODS4")?;
    let mut local6 = table::<Address6, v1::LocalPod>(old, "LOCAL_PODS6")?;
    for (id, endpoint) in maps.endpoints.entries()? {
        let (ifindex, entry) = entries::endpoint_down(id, &endpoint);
        endpoints.set(&ifindex, &entry)?;
        let pod = entries::local_pod(id, &endpoint);
        if endpoint.address4 != 0 {
            local4.set(&endpoint.address4, &pod)?;
        }
        if endpoint.address6 != [0; 4] {
            local6.set(&endpoint.address6, &pod)?;
        }
    }
    let config = maps.node_config.get(&0)?.unwrap_or_default();
    // An eighth of the flows, as that version has it, on any number of processors.
    let unanswered = (maps.flows4.capacity() / 8 / 16).max(16);
    table::<u32, v1::NodeConfig>(old, "NODE_CONFIG")?
        .set(&0, &entries::node_down(&config, unanswered))?;
    let clients = entries::clients(&config, maps.clients.entries()?);
    let mut affinity = maps.affinity.clone();
    for (key, value) in entries::affinity_down(&affinity.entries()?, &clients) {
        affinity.set(&key, &value)?;
    }
    Ok(())
}

/// Our programs still run, and an agent of schema 1 is awaited.
pub struct Handover {
    old: Pins,
    blocks: Blocks,
    maps: Maps,
    here: Here,
    flows: (Descent<Address4>, Descent<Address6>),
    /// Links of which schema 1 does not know, detached when this is dropped.
    rest: Vec<OwnedFd>,
    /// Programs that are to come.
    awaited: BTreeSet<String>,
    /// Programs of schema 1 that use these maps.
    found: BTreeMap<String, OwnedFd>,
    /// Ids of maps by which these are known.
    marks: Vec<u32>,
    /// The last program that was looked at.
    last: u32,
}

impl Debug for Handover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handover")
            .field("awaited", &self.awaited)
            .finish_non_exhaustive()
    }
}

impl Handover {
    fn open(old: &Pins, pins: &Pins, maps: &Maps, blocks: Blocks) -> Result<Self, DatapathError> {
        let config = maps.node_config.get(&0)?.unwrap_or_default();
        let keys4 = maps.node_addresses4.entries()?.into_iter();
        let keys6 = maps.node_addresses6.entries()?.into_iter();
        let (from4, from6) = stores(&pins.maps())?;
        let mut handover = Self {
            here: Here {
                flags: config.flags,
                pods4: maps.local_pods4.entries()?.into_iter().collect(),
                pods6: maps.local_pods6.entries()?.into_iter().collect(),
                own4: keys4.map(|(address, _)| address).collect(),
                own6: keys6.map(|(address, _)| address).collect(),
            },
            flows: (
                Descent::new(from4, table(old, "CONNTRACK4")?),
                Descent::new(from6, table(old, "CONNTRACK6")?),
            ),
            old: old.clone(),
            blocks,
            maps: maps.clone(),
            rest: Vec::new(),
            awaited: BTreeSet::new(),
            found: BTreeMap::new(),
            marks: Vec::new(),
            last: 0,
        };
        for name in CHANGED.iter().chain(&["CONNTRACK4", "CONNTRACK6"]) {
            let path = old.map(name);
            let map = object::open_map(&path).map_err(DatapathError::corrupt(&path))?;
            let info = object::map_info(map).map_err(DatapathError::corrupt(&path))?;
            handover.marks.push(info.id);
        }
        handover.look_for_programs()?;
        Ok(handover)
    }

    /// Copies what has changed of flows.
    fn pass(&mut self) -> Result<(), DatapathError> {
        self.flows.0.pass(&self.here)?;
        Ok(self.flows.1.pass(&self.here)?)
    }

    fn move_links(&mut self, pins: &Pins) -> Result<(), DatapathError> {
        let folder = pins.links();
        for name in pins::names(&folder).map_err(DatapathError::file("list", &folder))? {
            let path = pins.link(&name);
            let program = exchange::program(&name);
            if KNOWN.contains(&program) {
                fs::rename(&path, self.old.link(&name))
                    .map_err(DatapathError::file("move", &path))?;
                if PACKETS.contains(&program) {
                    self.awaited.insert(program.to_owned());
                }
            } else {
                let link = object::open_link(&path).map_err(DatapathError::corrupt(&path))?;
                self.rest.push(link);
            }
        }
        for hook in blocks::HOOKS {
            self.awaited.insert(hook.program().to_owned());
        }
        Ok(())
    }

    /// Whether the other agent is there, and loads its programs: it attaches the first as soon as it has loaded the last.
    pub fn begins(&self) -> bool {
        !self.found.is_empty()
    }

    /// Copies what has changed, and if the other agent has loaded its programs, puts them in the place of ours: true, once
    /// that is done.
    pub fn step(&mut self) -> Result<bool, DatapathError> {
        self.look_for_programs()?;
        if !self
            .awaited
            .iter()
            .all(|name| self.found.contains_key(name))
        {
            self.pass()?;
            return Ok(false);
        }
        let mut config = self.maps.node_config.clone();
        settle::begin(&mut config)?;
        self.pass()?;
        let exchanged = self.exchange();
        self.pass()?;
        exchanged?;
        self.rest.clear();
        Ok(true)
    }

    /// Programs that were loaded since and use maps of schema 1.
    fn look_for_programs(&mut self) -> Result<(), DatapathError> {
        let failed = DatapathError::file("list programs beside", self.old.maps());
        self.look().map_err(failed)
    }

    fn look(&mut self) -> std::io::Result<()> {
        while let Some(id) = program::after(self.last)? {
            self.last = id;
            let Some(Loaded { fd, name, maps, .. }) = program::by_id(id)? else {
                continue;
            };
            if maps.iter().any(|map| self.marks.contains(map)) {
                self.found.insert(name, fd);
            }
        }
        Ok(())
    }

    fn exchange(&self) -> Result<(), DatapathError> {
        let in_blocks = blocks::HOOKS.into_iter().filter_map(|hook| {
            let program = self.found.get(hook.program())?;
            Some((hook, program.as_fd()))
        });
        let in_blocks: Vec<_> = in_blocks.collect();
        let mut result = self.blocks.replace_by(&in_blocks);
        let folder = self.old.links();
        let names = pins::names(&folder).map_err(DatapathError::file("list", &folder))?;
        for hook in Hook::ALL {
            let ours = |name: &&String| exchange::program(name) == hook.program();
            for name in names.iter().filter(ours) {
                result = result.and(self.exchange_link(name));
            }
        }
        result
    }

    fn exchange_link(&self, name: &str) -> Result<(), DatapathError> {
        let Some(program) = self.found.get(exchange::program(name)) else {
            return Ok(());
        };
        let path = self.old.link(name);
        let updated = object::open_link(&path).and_then(|link| link::update(link, program));
        match updated {
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
            updated => updated.map_err(DatapathError::file("update the link", path)),
        }
    }
}
