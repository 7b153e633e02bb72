//! The kernel side as the agent uses it: loading, pinning, typed maps. The only user of aya.
//!
//! [`Datapath::open`] gives the agent everything: programs loaded, maps pinned and typed. [`Reader`] gives
//! `proxyctl` the maps and attachments from the pins alone, agent or no agent. Subsystems write through
//! [`Table`] and [`Words`], which [`MemoryTable`] and [`MemoryWords`] implement for tests.

pub mod bpfsys;
pub mod capacities;
pub mod clock;
mod drops;
pub mod error;
pub mod flows;
pub mod handle;
pub mod kernel_table;
pub mod kernel_words;
pub mod maps;
pub mod memory_table;
pub mod migrate;
pub mod mirror;
pub mod object;
pub mod pins;
pub mod prefix;
pub mod preflight;
pub mod programs;
pub mod reader;
pub mod shared;
pub mod table;
mod tally;
pub mod tree;
pub mod trial;
pub mod words;

mod attach;
mod following;
mod living;
mod load;
mod mend;
mod packet_log;
mod resizable;
mod rows;
mod schema;

pub use attach::detach_all;
pub use capacities::Capacities;
pub use drops::Drops;
pub use error::DatapathError;
pub use flows::{FlowState, FlowUsage, Flows};
pub use kernel_table::KernelTable;
pub use kernel_words::KernelWords;
pub use maps::{MapUsage, Maps};
pub use memory_table::{Faults, MemoryTable};
pub use mend::LostPins;
pub use migrate::resize::Prepared;
pub use mirror::{Kept, Mended, Mirror, Round};
pub use packet_log::{PacketLog, Telling};
pub use pins::Pins;
pub use prefix::Prefix;
pub use preflight::PreflightError;
pub use programs::{Attachment, Hook, Lifter, TcMode, TcPreference, lift::Lifted};
pub use reader::Reader;
pub use schema::declarations;
pub use shared::SharedDatapath;
pub use table::{Cursor, Table, TableError};
pub use words::{MemoryWords, Words};

use std::{collections::BTreeMap, path::PathBuf};

use aya::Ebpf;
use proxy_common::sockets::Client;

use handle::MapHandle;
use migrate::{resize, v1};
use programs::blocks::Blocks;

/// What the datapath needs to know to be opened.
#[derive(Clone, Debug)]
pub struct DatapathConfig {
    /// A mounted BPF file system.
    pub bpffs: PathBuf,
    /// Name of this node's pins on it: several nodes may share one bpffs in a lab. Letters, digits, `-`, `_`.
    pub instance: String,
    /// The cgroup v2 folder below which sockets are balanced: all of the node's processes and pods.
    pub cgroup_root: PathBuf,
    /// Capacities of maps. One that is larger because it had to grow stays so as long as it is of use.
    pub capacities: Capacities,
    /// How tc programs are attached.
    pub tc: TcPreference,
    /// Of which packets the programs tell: [`Datapath::take_packet_log`].
    pub told: Telling,
    /// The pods' network namespaces, as far as known: maps of an older version keep affinity by them.
    pub clients: Vec<(u64, Client)>,
}

/// The datapath of this node: the programs, loaded, and the maps, pinned.
///
/// Dropping it changes nothing in the kernel.
#[derive(Debug)]
pub struct Datapath {
    config: DatapathConfig,
    pins: Pins,
    /// The BPF file system that they are on.
    mount: Option<u64>,
    blocks: Blocks,
    maps: Maps,
    /// Maps that have no table.
    others: Vec<MapHandle>,
    ebpf: Ebpf,
    lifter: Lifter,
    packet_log: Option<PacketLog>,
}

impl Datapath {
    /// Checks the machine and the pins, creates what maps are missing, loads the programs that every node has. Attaches nothing:
    /// what an earlier agent attached goes on as it is until [`Self::attach_sockets`] and the like.
    pub fn open(config: &DatapathConfig) -> Result<Self, DatapathError> {
        let pins = Pins::new(&config.bpffs, &config.instance)?;
        preflight::check(&config.bpffs, &config.cgroup_root)?;
        let older = schema::check(&pins)? == schema::Found::Older;
        bpfsys::lift_memlock_limit();
        pins.create()?;
        if older {
            v1::up(&pins, config)?;
        }
        schema::record(&pins)?;
        let prepared = Self::prepare(&pins, config, older)?;
        let mut datapath = Self::of(config, pins, prepared)?;
        datapath.take_over(older)?;
        Ok(datapath)
    }

    /// Programs, and maps of other capacities beside those that are pinned, if those are not as they should be.
    fn prepare(
        pins: &Pins,
        config: &DatapathConfig,
        older: bool,
    ) -> Result<Prepared, DatapathError> {
        load::places(pins, &config.capacities, None)?;
        if let Some(resumed) = resize::resume(pins, config)? {
            return Ok(resumed);
        }
        let resized = match Maps::open(pins) {
            // One thing after the other.
            Ok(maps) if !older => {
                let sizes = resize::plan(&maps, &config.capacities, &BTreeMap::new())?;
                match resize::prepare(pins, &maps, config, sizes) {
                    // The kernel has no memory for more: those that are there do.
                    Err(DatapathError::Maps(_)) => None,
                    prepared => prepared?,
                }
            }
            // A first start, or one that was cut off.
            Ok(_) | Err(DatapathError::NotLoaded { .. }) => None,
            Err(error) => return Err(error),
        };
        resized.map_or_else(|| resize::as_they_are(pins, config), Ok)
    }

    /// Puts our programs in the place of those of an older version.
    fn take_over(&mut self, older: bool) -> Result<(), DatapathError> {
        if older {
            return v1::finish(&self.pins, self.blocks, &mut self.ebpf, &self.maps);
        }
        v1::retire(&self.pins)?;
        v1::discard(&self.pins)
    }

    /// Of programs that are loaded, and maps that stand beside those in use or are to be used as they are.
    fn of(
        config: &DatapathConfig,
        pins: Pins,
        mut prepared: Prepared,
    ) -> Result<Self, DatapathError> {
        let blocks = Blocks::of(&config.instance);
        let maps = Maps::open(&pins)?;
        if !prepared.sizes.is_empty() {
            prepared.put_in_force(&pins, blocks, &maps)?;
        }
        let mut ebpf = prepared.ebpf;
        let packet_log = config.told.any().then(|| PacketLog::of(&mut ebpf));
        Ok(Self {
            config: config.clone(),
            blocks,
            maps,
            lifter: Lifter::new(&ebpf, &pins)?,
            others: mend::open(&pins)?,
            mount: mend::mount(&config.bpffs),
            pins,
            ebpf,
            packet_log: packet_log.transpose()?,
        })
    }

    /// What finds out whether maps should be larger or smaller, and makes them: on another thread.
    pub fn resizer(&self) -> Resizer {
        Resizer {
            pins: self.pins.clone(),
            maps: self.maps.clone(),
            config: self.config.clone(),
        }
    }

    /// Puts maps in force that a [`Resizer`] made; gives their capacities. Who writes maps goes on meanwhile, but for the node's worker,
    /// which holds [`Maps::standing`]. All clones of [`Self::maps`] and [`Self::lifter`] go by the new ones then. After [`DatapathError::Outgrown`] nothing has changed;
    /// after another error some programs go by the new
    /// maps and others by the old ones: the next [`Self::open`] goes on from there.
    pub fn put_in_force(
        &mut self,
        mut prepared: Prepared,
    ) -> Result<BTreeMap<String, u32>, DatapathError> {
        let mut lifting = self.lifter.pause();
        let standing = self.maps.standing.clone();
        let _held = standing.hold();
        let exchanged = prepared.put_in_force(&self.pins, self.blocks, &self.maps);
        if matches!(exchanged, Err(DatapathError::Outgrown { .. })) {
            pins::discard(&self.pins.building())?;
        }
        exchanged?;
        *lifting = programs::lift::pod_programs(&prepared.ebpf)?;
        drop(lifting);
        self.ebpf = prepared.ebpf;
        if self.config.told.any() {
            self.packet_log = Some(PacketLog::of(&mut self.ebpf)?);
        }
        Ok(prepared.sizes)
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// What the programs tell of packets, once, if the configuration asks for it.
    pub fn take_packet_log(&mut self) -> Option<PacketLog> {
        self.packet_log.take()
    }

    /// Where things are pinned.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The programs, all loaded, for `BPF_PROG_TEST_RUN`.
    pub fn programs_mut(&mut self) -> Result<&mut Ebpf, DatapathError> {
        load::ensure_all(&mut self.ebpf)?;
        Ok(&mut self.ebpf)
    }

    /// The folder of pins, if somebody has taken it away, or one in it, with all that was pinned there, or has mounted another BPF
    /// file system over it.
    pub fn lost_pins(&self) -> Option<LostPins> {
        let inner = [self.pins.maps(), self.pins.links()];
        let lost = inner.iter().any(|folder| !folder.exists());
        lost.then(|| LostPins {
            folder: self.pins.folder(),
            is_elsewhere: mend::mount(&self.config.bpffs) != self.mount,
        })
    }

    /// Pins again what of the maps somebody has unpinned, or has pinned something else in the place of; names that.
    pub fn mend_pins(&self) -> Result<Vec<String>, DatapathError> {
        preflight::mounted_bpffs(&self.config.bpffs)?;
        mend::mend(&self.pins, &self.maps, &self.others)
    }
}

/// Makes maps beside those in use. See [`Datapath::put_in_force`].
#[derive(Clone, Debug)]
pub struct Resizer {
    pins: Pins,
    maps: Maps,
    config: DatapathConfig,
}

impl Resizer {
    /// Whether it is worth to count: whether some maps seem to be larger or smaller than they should. By how many entries they
    /// had when those were counted, which costs nothing, and a sample of the flows, which may become many in a moment.
    pub fn suspects(&self, configured: &Capacities, counted: &BTreeMap<String, u32>) -> bool {
        resize::suspects(&self.maps, configured, counted)
    }

    /// The maps that should have another capacity, if these are configured and so many entries wait for room (by map);
    /// made, filled, and with programs for them. None if all are as they should be, or as large as they may be. Takes seconds.
    pub fn prepare(
        &self,
        configured: &Capacities,
        more: &BTreeMap<String, u32>,
    ) -> Result<Option<Prepared>, DatapathError> {
        let sizes = resize::plan(&self.maps, configured, more)?;
        let config = DatapathConfig {
            capacities: configured.clone(),
            ..self.config.clone()
        };
        resize::prepare(&self.pins, &self.maps, &config, sizes)
    }
}
