//! Our maps from those of schema 1.

use std::{collections::BTreeSet, fs, os::fd::OwnedFd, path::Path};

use proxy_common::{
    address::{Address4, Address6},
    affinity::{Affinity, AffinityKey},
    conntrack::{Flow, FlowKey},
    endpoints::Endpoint,
    node::{Link, NodeConfig},
    policy::intervals::IntervalBlock,
    sockets::Client,
    v1,
};

use aya::{Ebpf, Pod};

use super::{
    empty, entries,
    flows::{self, Entry},
    lists::{self, Laid},
    node::Here,
    publish, share,
};
use crate::datapath::{
    DatapathConfig,
    bpfsys::object,
    clock,
    error::DatapathError,
    handle::MapHandle,
    kernel_table::KernelTable,
    kernel_words::KernelWords,
    load::{self, Place, Places},
    maps::Maps,
    migrate::{
        flows::{Address, Transfer},
        resize::stores,
        settle,
    },
    object as ebpf_object,
    packet_log::Telling,
    pins::{self, Pins},
    programs::{
        blocks::Blocks,
        exchange::{Attached, program},
    },
    table::Table as _,
    words::Words as _,
};

/// Socket programs of schema 1 that stay where there is no successor: sockets that were connected by its own know the
/// backend for the frontend by them.
const STAY: [&str; 2] = ["recvmsg4", "recvmsg6"];
/// `to_net` and `from_net` in the names of links.
const ON_LINKS: &str = "from_net";

/// A map that is pinned in a folder, with its types.
pub(super) fn table<K, V>(pins: &Pins, name: &str) -> Result<KernelTable<K, V>, DatapathError>
where
    K: Pod + std::fmt::Debug + Ord,
    V: Pod + std::fmt::Debug + PartialEq,
{
    let path = pins.map(name);
    KernelTable::open(&path).map_err(DatapathError::corrupt(path))
}

fn open(path: &Path) -> std::io::Result<OwnedFd> {
    object::open_map(path)
}

/// Makes our maps beside those of schema 1, unless that is done. No program uses them yet.
pub(in crate::datapath) fn up(pins: &Pins, config: &DatapathConfig) -> Result<(), DatapathError> {
    let folder = pins.maps();
    let made = pins::names(&folder).map_err(DatapathError::file("list", &folder))?;
    if !made.is_empty() {
        return Ok(());
    }
    let (old, building) = (pins.of_schema(v1::SCHEMA), pins.building());
    empty(&building)?;
    let blocks = lists(&old)?;
    let mut places = Places::new();
    for (name, mut info) in ebpf_object::maps(&config.capacities)? {
        let path = building.join(&name);
        if share(&name, &old.map(&name), &path, Some(&info))? {
            tracing::debug!(map = name, "shared with schema 1");
        }
        if name == INTERVALS {
            info.max_entries = info.max_entries.max(lists::capacity(&blocks));
        }
        let info = load::pinned(&path)?.unwrap_or(info);
        places.insert(name, Place { path, info });
    }
    let _programs = load::make(&places, Telling::NOTHING)?;
    fill(&old, pins, &config.clients)?;
    write_lists(&building.join(INTERVALS), &blocks)?;
    publish(&building, &folder)
}

/// The map of [`lists`].
pub(super) const INTERVALS: &str = "INTERVALS";

/// Blocks of our lists for the rows of schema 1. Nobody writes rows before our programs are in force.
fn lists(old: &Pins) -> Result<Laid<IntervalBlock>, DatapathError> {
    let (words, cells) = (words(old, "POLICY_WORDS")?, words(old, "POLICY_CELLS")?);
    let intervals = table::<u32, v1::IntervalBlock>(old, INTERVALS)?;
    let lists = lists::read_chains((&words, &cells), |number| intervals.get(&number))?;
    Ok(lists::up(&lists))
}

fn words(pins: &Pins, name: &str) -> Result<KernelWords, DatapathError> {
    let path = pins.map(name);
    open(&path)
        .and_then(|fd| MapHandle::new(name, fd))
        .and_then(KernelWords::new)
        .map_err(DatapathError::corrupt(path))
}

fn write_lists(path: &Path, blocks: &Laid<IntervalBlock>) -> Result<(), DatapathError> {
    let map = open(path).and_then(|fd| MapHandle::new(INTERVALS, fd));
    let map = map.and_then(KernelTable::<u32, IntervalBlock>::new);
    let mut map = map.map_err(DatapathError::corrupt(path))?;
    for (number, block) in blocks {
        map.set(number, block)?;
    }
    Ok(())
}

/// Writes what schema 1 keeps in another form.
fn fill(old: &Pins, pins: &Pins, pods: &[(u64, Client)]) -> Result<(), DatapathError> {
    let building = pins.building();
    let new = |name: &str| {
        let path = building.join(name);
        open(&path)
            .and_then(|fd| MapHandle::new(name, fd))
            .map_err(DatapathError::corrupt(&path))
    };
    let typed = DatapathError::corrupt(&building);
    endpoints(old, &new)?;
    let config = node(old)?;
    let mut node_config =
        KernelTable::<u32, NodeConfig>::new(new("NODE_CONFIG")?).map_err(typed)?;
    node_config.set(&0, &config)?;
    links(old, &new)?;
    // Any port may be of importance until the agent says which are.
    let mut ports =
        KernelWords::new(new("NODE_PORTS")?).map_err(DatapathError::corrupt(&building))?;
    for word in 0..ports.len() {
        ports.set(word, u64::MAX);
    }
    let mut affinity = KernelTable::<AffinityKey, Affinity>::new(new("AFFINITY")?)
        .map_err(DatapathError::corrupt(&building))?;
    let mut known = KernelTable::<u64, Client>::new(new("CLIENTS")?)
        .map_err(DatapathError::corrupt(&building))?;
    for (namespace, client) in pods {
        known.set(namespace, client)?;
    }
    let clients = entries::clients(&config, pods.iter().copied());
    for (key, value) in entries::affinity_up(&affinity.entries()?, &clients) {
        affinity.set(&key, &value)?;
    }
    Ok(())
}

fn node(old: &Pins) -> Result<NodeConfig, DatapathError> {
    let config = table::<u32, v1::NodeConfig>(old, "NODE_CONFIG")?.get(&0)?;
    Ok(entries::node_up(&config.unwrap_or_default()))
}

fn endpoints(
    old: &Pins,
    new: &dyn Fn(&str) -> Result<MapHandle, DatapathError>,
) -> Result<(), DatapathError> {
    let wrong = |error| DatapathError::corrupt("ENDPOINTS")(error);
    let mut endpoints = KernelTable::<u32, Endpoint>::new(new("ENDPOINTS")?).map_err(wrong)?;
    let mut interfaces = KernelTable::<u32, u32>::new(new("INTERFACES")?).map_err(wrong)?;
    for (ifindex, endpoint) in table::<u32, v1::Endpoint>(old, "ENDPOINTS")?.entries()? {
        let (id, endpoint) = entries::endpoint_up(ifindex, &endpoint);
        endpoints.set(&id, &endpoint)?;
        interfaces.set(&ifindex, &id)?;
    }
    let mut local4 = KernelTable::<Address4, u32>::new(new("LOCAL_PODS4")?).map_err(wrong)?;
    for (address, pod) in table::<Address4, v1::LocalPod>(old, "LOCAL_PODS4")?.entries()? {
        local4.set(&address, &pod.endpoint)?;
    }
    let mut local6 = KernelTable::<Address6, u32>::new(new("LOCAL_PODS6")?).map_err(wrong)?;
    for (address, pod) in table::<Address6, v1::LocalPod>(old, "LOCAL_PODS6")?.entries()? {
        local6.set(&address, &pod.endpoint)?;
    }
    Ok(())
}

/// The links that carry node traffic are those that bear its programs.
fn links(
    old: &Pins,
    new: &dyn Fn(&str) -> Result<MapHandle, DatapathError>,
) -> Result<(), DatapathError> {
    let wrong = |error| DatapathError::corrupt("LINKS")(error);
    let mut links = KernelTable::<u32, Link>::new(new("LINKS")?).map_err(wrong)?;
    let folder = old.links();
    let names = pins::names(&folder).map_err(DatapathError::file("list", &folder))?;
    let on_links = names.iter().filter(|name| program(name) == ON_LINKS);
    let indexes = on_links.filter_map(|name| name.rsplit('-').next()?.parse::<u32>().ok());
    for ifindex in indexes {
        links.set(&ifindex, &Link::default())?;
    }
    Ok(())
}

/// Puts our programs, which go by the maps that [`up`] made, in the place of those of schema 1, with all flows; then removes
/// what is left of it. May be done again after it was cut off.
pub(in crate::datapath) fn finish(
    pins: &Pins,
    blocks: Blocks,
    ebpf: &mut Ebpf,
    maps: &Maps,
) -> Result<(), DatapathError> {
    let old = pins.of_schema(v1::SCHEMA);
    let attached = Attached::find(&old, blocks)?;
    attached.load(ebpf)?;
    let mut flows = Rise::open(&old, pins)?;
    flows.pass()?;
    let mut config = maps.node_config.clone();
    let settles = settle::begin(&mut config)?;
    let exchanged = attached.exchange(ebpf, &old, blocks);
    let passed = flows.pass();
    if settles {
        settle::end(&mut config)?;
    }
    passed?;
    exchanged?;
    move_links(&old, pins, ebpf)?;
    discard(pins)?;
    tracing::info!(
        from = v1::SCHEMA,
        "maps and programs taken over from an older version"
    );
    Ok(())
}

/// Removes what is left of schema 1.
pub(in crate::datapath) fn discard(pins: &Pins) -> Result<(), DatapathError> {
    let old = pins.of_schema(v1::SCHEMA);
    let folders = [old.links(), old.maps(), old.building(), old.folder()];
    folders.iter().try_for_each(|folder| pins::discard(folder))
}

/// Links keep their names; those of programs that we have no more go.
fn move_links(old: &Pins, pins: &Pins, ebpf: &Ebpf) -> Result<(), DatapathError> {
    let ours: BTreeSet<&str> = ebpf.programs().map(|(name, _)| name).collect();
    let folder = old.links();
    for name in pins::names(&folder).map_err(DatapathError::file("list", &folder))? {
        let path = old.link(&name);
        let moved = if ours.contains(program(&name)) || STAY.contains(&name.as_str()) {
            fs::rename(&path, pins.link(&name))
        } else {
            fs::remove_file(&path)
        };
        moved.map_err(DatapathError::file("move", &path))?;
    }
    Ok(())
}

/// Flows of schema 1 on their way into ours.
struct Rise {
    here: Here,
    old: Pins,
    to: (Transfer<Address4>, Transfer<Address6>),
}

impl Rise {
    fn open(old: &Pins, pins: &Pins) -> Result<Self, DatapathError> {
        let mut here = Here {
            flags: node(old)?.flags,
            ..Here::default()
        };
        let local4 = table::<Address4, v1::LocalPod>(old, "LOCAL_PODS4")?.entries()?;
        let local6 = table::<Address6, v1::LocalPod>(old, "LOCAL_PODS6")?.entries()?;
        here.add_pods(&local4, &local6);
        let own4 = table::<Address4, u32>(old, "NODE_ADDRESSES4")?.entries()?;
        let own6 = table::<Address6, u32>(old, "NODE_ADDRESSES6")?.entries()?;
        here.own4 = own4.into_iter().map(|(address, _)| address).collect();
        here.own6 = own6.into_iter().map(|(address, _)| address).collect();
        let (to4, to6) = stores(&pins.maps())?;
        Ok(Self {
            here,
            old: old.clone(),
            to: (Transfer::new(to4), Transfer::new(to6)),
        })
    }

    fn pass(&mut self) -> Result<(), DatapathError> {
        let now = clock::seconds();
        let entries4 = self.entries::<Address4>(["CONNTRACK4", "NEW_FLOWS4"])?;
        let entries6 = self.entries::<Address6>(["CONNTRACK6", "NEW_FLOWS6"])?;
        let passed = [
            self.to.0.pass(&flows::up(entries4, &self.here, now)),
            self.to.1.pass(&flows::up(entries6, &self.here, now)),
        ];
        for passed in passed {
            let passed = passed.map_err(DatapathError::file("copy flows to", "FLOWS"))?;
            tracing::debug!(?passed, "flows taken over");
        }
        Ok(())
    }

    fn entries<A: Address>(&self, maps: [&str; 2]) -> Result<Vec<Entry<A>>, DatapathError>
    where
        v1::FlowKey<A>: Pod + Ord,
        v1::Flow<A>: Pod,
        Flow<A>: Pod,
        FlowKey<A>: Pod,
    {
        let mut all = Vec::new();
        for name in maps {
            table::<v1::FlowKey<A>, v1::Flow<A>>(&self.old, name)?
                .visit(|key, flow| all.push((*key, *flow)))?;
        }
        Ok(all)
    }
}

/// Ends programs of an older version that went on because sockets of its time needed them.
pub(in crate::datapath) fn retire(pins: &Pins) -> Result<(), DatapathError> {
    for name in STAY {
        let path = pins.link(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(DatapathError::file("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
