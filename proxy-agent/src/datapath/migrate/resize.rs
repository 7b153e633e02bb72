//! Maps of the same layout, larger or smaller.

use std::{collections::BTreeMap, fs, path::Path};

use aya::Ebpf;
use proxy_common::address::{Address4, Address6};

use super::{
    flows::{Store, Transfer},
    settle,
    size::{self, Use, is_of_flows},
};
use crate::datapath::{
    Capacities, DatapathConfig,
    bpfsys::object,
    capacities::most,
    clock,
    error::DatapathError,
    handle::MapKind,
    load,
    maps::{MapUsage, Maps},
    pins::{self, Pins},
    programs::{blocks::Blocks, exchange::Attached},
};

/// Maps that stand beside those in use, filled, and programs for them.
pub struct Prepared {
    pub(in crate::datapath) ebpf: Ebpf,
    /// Capacities of the maps that are to be exchanged.
    pub(in crate::datapath) sizes: BTreeMap<String, u32>,
    flows: Option<Both>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

/// How the maps are used. `more` counts entries that wait for room.
pub fn uses(
    maps: &Maps,
    usage: Vec<MapUsage>,
    more: &BTreeMap<String, u32>,
) -> Result<BTreeMap<String, Use>, DatapathError> {
    let mut uses = BTreeMap::new();
    for map in usage {
        let Some(resizable) = maps.resizable(&map.name) else {
            continue;
        };
        let now = Use {
            capacity: map.max_entries,
            entries: match map.name.as_str() {
                // Others give way to what needs their slot.
                "FLOWS4" => maps.flows4.usage(clock::seconds()).assured,
                "FLOWS6" => maps.flows6.usage(clock::seconds()).assured,
                _ => map.entries.unwrap_or(0),
            },
            more: more.get(&map.name).copied().unwrap_or(0),
            reach: match map.name.as_str() {
                "POLICY_CELLS" => resizable.reach()?.max(maps.cells_in_force().1),
                _ => resizable.reach()?,
            },
            evicts: map.kind == MapKind::LruHash.name(),
            most: most(&map.name),
        };
        uses.insert(map.name, now);
    }
    Ok(uses)
}

/// Which maps are to be exchanged, and their new capacities. `more` counts entries that wait for room.
pub fn plan(
    maps: &Maps,
    configured: &Capacities,
    more: &BTreeMap<String, u32>,
) -> Result<BTreeMap<String, u32>, DatapathError> {
    let uses = uses(maps, maps.usage()?, more)?;
    Ok(size::plan(configured, &uses))
}

/// Makes the maps of a plan beside those in use, fills them, and loads the programs. Nothing depends on it yet. Takes
/// seconds: not for the thread that writes the maps.
pub fn prepare(
    pins: &Pins,
    maps: Option<&Maps>,
    config: &DatapathConfig,
    sizes: BTreeMap<String, u32>,
) -> Result<Prepared, DatapathError> {
    begin(pins, !sizes.is_empty())?;
    let places = load::places(pins, &config.capacities, &sizes)?;
    let ebpf = load::load(&places, config.log_drops)?;
    let mut prepared = Prepared {
        ebpf,
        flows: None,
        sizes,
    };
    if let Some(maps) = maps {
        prepared.copy(pins, maps)?;
        if prepared.sizes.keys().any(|name| is_of_flows(name)) {
            let mut flows = Both::open(&pins.maps(), &pins.building())?;
            flows.pass()?;
            prepared.flows = Some(flows);
        }
    }
    Ok(prepared)
}

fn begin(pins: &Pins, builds: bool) -> Result<(), DatapathError> {
    let folder = pins.building();
    pins::discard(&folder)?;
    if builds {
        fs::create_dir_all(&folder).map_err(DatapathError::file("create", &folder))?;
    }
    Ok(())
}

impl Prepared {
    /// Copies what the agent writes.
    fn copy(&self, pins: &Pins, maps: &Maps) -> Result<(), DatapathError> {
        // Flows are not copied as they are: see `Both`.
        for name in self.sizes.keys().filter(|name| !is_of_flows(name)) {
            if let Some(map) = maps.resizable(name) {
                let path = pins.building().join(name);
                let other = object::open_map(&path).map_err(DatapathError::corrupt(&path))?;
                map.copy_to(other)?;
            }
        }
        Ok(())
    }

    /// Puts the new maps and their programs in force. Nobody else writes the maps meanwhile, but the programs.
    pub(in crate::datapath) fn put_in_force(
        &mut self,
        pins: &Pins,
        blocks: Blocks,
        maps: &Maps,
    ) -> Result<(), DatapathError> {
        let attached = Attached::find(pins, blocks)?;
        self.copy(pins, maps)?;
        rename(&pins.building(), &pins.next())?;
        let mut config = maps.node_config.clone();
        let settles = self.flows.is_some() && settle::begin(&mut config)?;
        let exchanged = self.exchange(pins, blocks, &attached);
        if settles {
            settle::end(&mut config)?;
        }
        exchanged?;
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

/// Goes on where an agent was killed while it exchanged maps: true if some programs may still use the old ones.
pub(in crate::datapath) fn resume(pins: &Pins) -> Result<bool, DatapathError> {
    pins::discard(&pins.building())?;
    let folder = pins.next();
    let names = pins::names(&folder).map_err(DatapathError::file("list", &folder))?;
    if names.is_empty() {
        pins::discard(&folder)?;
        return Ok(false);
    }
    if names.iter().filter(|name| is_of_flows(name)).count() == FLOW_MAPS {
        Both::open(&pins.maps(), &folder)?.pass()?;
    }
    publish(pins)?;
    Ok(true)
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
