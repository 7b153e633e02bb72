//! Resizing: maps of the same layout, larger or smaller.

use std::{collections::BTreeMap, fs, os::fd::OwnedFd, path::Path};

use aya::Ebpf;
use proxy_common::address::{Address4, Address6};

use super::{
    ceiling::entry_bytes,
    flows::{Store, Transfer},
    settle,
    size::{self, Sizes, Use, is_of_flows},
};
use crate::datapath::{
    Capacities, DatapathConfig,
    bpfsys::object::{self, MapInfo},
    capacities::most,
    clock,
    error::DatapathError,
    flows::Flows,
    handle::MapKind,
    living::AFFINITY,
    load,
    maps::{MapUsage, Maps, OF_PROGRAMS},
    pins::{self, Pins},
    programs::{blocks::Blocks, exchange::Attached},
    resizable::Resizable,
};

/// Maps that stand beside those in use, filled, and programs for them.
pub struct Prepared {
    pub(in crate::datapath) ebpf: Ebpf,
    /// Capacities of the maps that are to be exchanged.
    pub(in crate::datapath) sizes: Sizes,
    flows: Option<Both>,
    followed: Option<Followed>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

fn is_lru(info: &MapInfo) -> bool {
    MapKind::from_number(info.kind) == MapKind::LruHash
}

/// How a map is used that has so many entries.
fn how(maps: &Maps, name: &str, entries: u32) -> Option<Use> {
    let info = maps.info(name)?;
    Some(Use {
        capacity: info.max_entries,
        entries,
        // Of affinities those are counted that are not over.
        evicts: is_lru(&info) && name != AFFINITY,
        most: most(name),
        bytes: entry_bytes(&info),
        ..Use::default()
    })
}

/// How all maps are used. `more` counts entries that wait for room.
fn uses(maps: &Maps, more: &BTreeMap<String, u32>) -> Result<BTreeMap<String, Use>, DatapathError> {
    let mut uses = BTreeMap::new();
    let now = clock::seconds();
    let flows = maps.flows().map(|flows| flows.usage(now));
    for MapUsage { name, entries, .. } in maps.usage_beside(flows)? {
        let entries = match name.as_str() {
            // Others give way to what needs their slot.
            "FLOWS4" => flows[0].assured,
            "FLOWS6" => flows[1].assured,
            _ => entries.unwrap_or(0),
        };
        let reach = maps.reach(&name)?;
        if let Some(now) = how(maps, &name, entries) {
            let more = more.get(&name).copied().unwrap_or(0);
            uses.insert(name, Use { more, reach, ..now });
        }
    }
    Ok(uses)
}

/// Which maps are to be exchanged, and their new capacities. `more` counts entries that wait for room.
pub fn plan(
    maps: &Maps,
    configured: &Capacities,
    more: &BTreeMap<String, u32>,
) -> Result<Sizes, DatapathError> {
    Ok(size::plan(configured, &uses(maps, more)?))
}

/// Whether there seems to be something to plan, by how many entries maps had when they were counted, and a sample of flows.
pub fn suspects(maps: &Maps, configured: &Capacities, counted: &BTreeMap<String, u32>) -> bool {
    let now = clock::seconds();
    let uses = counted.iter().filter_map(|(name, entries)| {
        let entries = match name.as_str() {
            "FLOWS4" => maps.flows4.sample(now),
            "FLOWS6" => maps.flows6.sample(now),
            _ => *entries,
        };
        Some((name.clone(), how(maps, name, entries)?))
    });
    !size::plan(configured, &uses.collect()).is_empty()
}

/// Makes the maps of a plan beside those in use, fills them, and loads the programs. Nothing depends on it yet. Takes
/// seconds: not for the thread that writes the maps. A map that the kernel refuses holds up no smaller one. None if nothing is
/// planned.
pub fn prepare(
    pins: &Pins,
    maps: &Maps,
    config: &DatapathConfig,
    mut sizes: Sizes,
) -> Result<Option<Prepared>, DatapathError> {
    let mut refused = None;
    while !sizes.is_empty() {
        match build(pins, maps, config, &sizes) {
            Err(error @ DatapathError::Maps(_)) => {
                let without = without_largest(&mut sizes, maps);
                tracing::warn!(maps = ?without, %error, "maps keep their capacities");
                refused = Some(error);
            }
            built => return built.map(Some),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Takes out of a plan what would take the most memory.
fn without_largest(sizes: &mut Sizes, maps: &Maps) -> Sizes {
    let bytes = |(name, capacity): &(&String, &u32)| {
        let each = maps.info(name).map_or(0, |info| entry_bytes(&info));
        u64::from(each) * u64::from(**capacity)
    };
    let largest = sizes.iter().max_by_key(bytes);
    let largest = largest.map(|(name, _)| name.clone()).unwrap_or_default();
    let goes = |name: &str| name == largest || is_of_flows(name) && is_of_flows(&largest);
    sizes.extract_if(.., |name, _| goes(name)).collect()
}

fn build(
    pins: &Pins,
    maps: &Maps,
    config: &DatapathConfig,
    sizes: &Sizes,
) -> Result<Prepared, DatapathError> {
    let folder = pins.building();
    pins::discard(&folder)?;
    fs::create_dir_all(&folder).map_err(DatapathError::file("create", &folder))?;
    let mut prepared = over(pins, config, &folder, sizes.clone())?;
    let followed = Followed::begin(maps, prepared.each(&folder, maps)?)?;
    followed.refresh(|_| true)?;
    followed.is_whole()?;
    prepared.followed = Some(followed);
    if let Some(flows) = &mut prepared.flows {
        flows.pass()?;
    }
    Ok(prepared)
}

/// With programs that go by the new maps in a folder.
fn over(
    pins: &Pins,
    config: &DatapathConfig,
    folder: &Path,
    sizes: Sizes,
) -> Result<Prepared, DatapathError> {
    let places = load::places(pins, &config.capacities, Some((folder, &sizes)))?;
    let mut ebpf = load::load(&places, config.told)?;
    // Not only then when nobody may write the maps.
    Attached::find(pins, Blocks::of(&config.instance))?.load(&mut ebpf)?;
    // After the last program has been exchanged maps get their places one by one.
    let has_flows = sizes.keys().filter(|name| is_of_flows(name)).count() == FLOW_MAPS;
    Ok(Prepared {
        ebpf,
        flows: has_flows
            .then(|| Both::open(&pins.maps(), folder))
            .transpose()?,
        sizes,
        followed: None,
    })
}

/// Programs for the maps that are pinned, and those that are missing, made.
pub(in crate::datapath) fn as_they_are(
    pins: &Pins,
    config: &DatapathConfig,
) -> Result<Prepared, DatapathError> {
    pins::discard(&pins.building())?;
    let places = load::places(pins, &config.capacities, None)?;
    Ok(Prepared {
        ebpf: load::load(&places, config.told)?,
        sizes: Sizes::new(),
        flows: None,
        followed: None,
    })
}

/// What an agent was exchanging when it was killed: what it copied is whole, and some programs may go by it.
pub(in crate::datapath) fn resume(
    pins: &Pins,
    config: &DatapathConfig,
) -> Result<Option<Prepared>, DatapathError> {
    let folder = pins.next();
    let names = pins::names(&folder).map_err(DatapathError::file("list", &folder))?;
    let mut sizes = Sizes::new();
    for name in names {
        if let Some(map) = load::pinned(&folder.join(&name))? {
            sizes.insert(name, map.max_entries);
        }
    }
    if sizes.is_empty() {
        pins::discard(&folder)?;
        return Ok(None);
    }
    over(pins, config, &folder, sizes).map(Some)
}

impl Prepared {
    /// Whether a map is to be exchanged.
    pub fn has(&self, map: &str) -> bool {
        self.sizes.contains_key(map)
    }

    /// Each new map but those of flows, which are not copied as they are (see `Both`), with the one whose place it takes.
    fn each<'a>(
        &self,
        folder: &Path,
        maps: &'a Maps,
    ) -> Result<Vec<(&'static str, &'a dyn Resizable, OwnedFd)>, DatapathError> {
        let names = self.sizes.keys().filter(|name| !is_of_flows(name));
        let pairs = names.filter_map(|name| {
            let path = folder.join(name);
            let new = object::open_map(&path).map_err(DatapathError::corrupt(&path));
            maps.named(name).map(|(name, map)| Ok((name, map, new?)))
        });
        pairs.collect()
    }

    /// Puts the new maps and their programs in force. The agent may write all maps meanwhile, but for `NODE_CONFIG`.
    pub(in crate::datapath) fn put_in_force(
        &mut self,
        pins: &Pins,
        blocks: Blocks,
        maps: &Maps,
    ) -> Result<(), DatapathError> {
        let attached = Attached::find(pins, blocks)?;
        attached.load(&mut self.ebpf)?;
        if let Some(followed) = &mut self.followed {
            check(&self.sizes, maps)?;
            // The agent's own writes have gone to both.
            followed.refresh(|name| OF_PROGRAMS.contains(&name))?;
            followed.make_firm()?;
            rename(&pins.building(), &pins.next())?;
        }
        if self.flows.is_some() {
            maps.flows().into_iter().for_each(Flows::note_ends);
        }
        let mut config = maps.node_config.clone();
        let settles = self.flows.is_some() && settle::begin(&mut config)?;
        let exchanged = self.exchange(pins, blocks, &attached);
        if settles {
            settle::end(&mut config)?;
        }
        exchanged?;
        for (_, map, new) in self.each(&pins.next(), maps)? {
            map.add_to(new)?;
        }
        for name in self.sizes.keys() {
            let path = pins.next().join(name);
            let map = object::open_map(&path).map_err(DatapathError::corrupt(&path))?;
            maps.exchange(name, map)
                .map_err(DatapathError::corrupt(&path))?;
        }
        publish(pins)
    }

    fn exchange(
        &mut self,
        pins: &Pins,
        blocks: Blocks,
        attached: &Attached,
    ) -> Result<(), DatapathError> {
        if let Some(flows) = &mut self.flows {
            flows.pass()?;
        }
        attached.exchange(&mut self.ebpf, pins, blocks)?;
        if let Some(flows) = &mut self.flows {
            flows.pass()?;
        }
        Ok(())
    }
}

/// What was written meanwhile may not fit.
fn check(sizes: &Sizes, maps: &Maps) -> Result<(), DatapathError> {
    for (name, capacity) in sizes.iter().filter(|(name, _)| !is_of_flows(name)) {
        let evicts = maps.info(name).is_some_and(|info| is_lru(&info));
        if !evicts && maps.reach(name)? > *capacity {
            let map = name.clone();
            return Err(DatapathError::Outgrown { map });
        }
    }
    Ok(())
}

/// Maps that others follow, until this is dropped or those have their places.
struct Followed {
    maps: Maps,
    names: Vec<&'static str>,
    /// Programs may go by those that follow.
    firm: bool,
}

impl Followed {
    fn begin(
        maps: &Maps,
        each: Vec<(&'static str, &dyn Resizable, OwnedFd)>,
    ) -> Result<Self, DatapathError> {
        let (maps, names) = (maps.clone(), Vec::new());
        let mut followed = Self {
            maps,
            names,
            firm: false,
        };
        for (name, map, new) in each {
            map.follow(new).map_err(DatapathError::corrupt(name))?;
            followed.names.push(name);
        }
        Ok(followed)
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, &dyn Resizable)> {
        let names = self.names.iter();
        names.filter_map(|name| self.maps.named(name))
    }

    /// Brings those in step that follow maps of which `which` is true.
    fn refresh(&self, which: impl Fn(&str) -> bool) -> Result<(), DatapathError> {
        let mut all = self.each().filter(|(name, _)| which(name));
        all.try_for_each(|(_, map)| map.refresh())
    }

    /// They hold all that they should, but for what they have no room for.
    fn is_whole(&self) -> Result<(), DatapathError> {
        let mut all = self.each();
        let failed = all.find_map(|(name, map)| Some((name, map.failure()?)));
        failed.map_or(Ok(()), |(name, error)| {
            Err(DatapathError::file("copy", name)(error))
        })
    }

    /// They have taken each write, and from now on one that they do not take is refused.
    fn make_firm(&mut self) -> Result<(), DatapathError> {
        let missed = self.each().find(|(_, map)| !map.make_firm());
        if let Some((name, _)) = missed {
            let map = name.to_owned();
            return Err(DatapathError::Outgrown { map });
        }
        self.firm = true;
        Ok(())
    }
}

impl Drop for Followed {
    /// Where the exchange has begun and did not come to its end, programs go by both: both are written until the agent has ended, and its
    /// next start goes on.
    fn drop(&mut self) {
        if self.firm {
            return;
        }
        self.each().for_each(|(_, map)| map.unfollow());
    }
}

/// `FLOWS*` and `FLOW_INDEX*`.
const FLOW_MAPS: usize = 4;

/// Gives the new maps their places. All programs go by them.
fn publish(pins: &Pins) -> Result<(), DatapathError> {
    let folder = pins.next();
    for name in pins::names(&folder).map_err(DatapathError::file("list", &folder))? {
        rename(&folder.join(&name), &pins.map(&name))?;
    }
    pins::discard(&folder)
}

fn rename(from: &Path, to: &Path) -> Result<(), DatapathError> {
    fs::rename(from, to).map_err(DatapathError::file("rename", from))
}

/// Flows of both families, on their way from one folder of maps to another.
struct Both {
    from: (Store<Address4>, Store<Address6>),
    to: (Transfer<Address4>, Transfer<Address6>),
}

impl Both {
    fn open(from: &Path, to: &Path) -> Result<Self, DatapathError> {
        Ok(Self {
            from: stores(from)?,
            to: {
                let (to4, to6) = stores(to)?;
                (Transfer::new(to4), Transfer::new(to6))
            },
        })
    }

    fn pass(&mut self) -> Result<(), DatapathError> {
        let passed = [
            self.to.0.pass(&self.from.0.read()),
            self.to.1.pass(&self.from.1.read()),
        ];
        for passed in passed {
            let passed = passed.map_err(DatapathError::file("copy flows to", "FLOWS"))?;
            tracing::debug!(?passed, "flows copied");
        }
        Ok(())
    }
}

/// Both families' flows in a folder.
pub(super) fn stores(folder: &Path) -> Result<(Store<Address4>, Store<Address6>), DatapathError> {
    let paths = |flows: &str, index: &str| (folder.join(flows), folder.join(index));
    let (flows4, index4) = paths("FLOWS4", "FLOW_INDEX4");
    let (flows6, index6) = paths("FLOWS6", "FLOW_INDEX6");
    Ok((
        Store::open(&flows4, &index4)?,
        Store::open(&flows6, &index6)?,
    ))
}
