//! The kernel side as the agent uses it: loading, pinning, typed maps. The only user of aya.
//!
//! [`Datapath::open`] gives the agent everything: programs loaded, maps pinned and typed. [`Reader`] gives
//! `proxyctl` the maps and attachments from the pins alone, agent or no agent. Subsystems write through
//! [`Table`] and [`Words`], which [`MemoryTable`] and [`MemoryWords`] implement for tests.

pub mod bpfsys;
pub mod capacities;
pub mod clock;
pub mod drop_log;
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
pub mod table;
pub mod tree;
pub mod words;

mod load;
mod rows;
mod schema;

pub use capacities::Capacities;
pub use drop_log::DropLog;
pub use drops::Drops;
pub use error::DatapathError;
pub use flows::{FlowState, FlowUsage, Flows};
pub use kernel_table::KernelTable;
pub use kernel_words::KernelWords;
pub use maps::{MapUsage, Maps};
pub use memory_table::{Faults, MemoryTable};
pub use migrate::resize::Prepared;
pub use mirror::Mirror;
pub use pins::Pins;
pub use prefix::Prefix;
pub use preflight::PreflightError;
pub use programs::{Attachment, Hook, Lifter, TcMode, TcPreference, lift::Lifted};
pub use reader::Reader;
pub use table::{Cursor, Table, TableError};
pub use words::{MemoryWords, Words};

use std::{collections::BTreeMap, path::PathBuf};

use aya::Ebpf;
use proxy_common::sockets::Client;

use migrate::{resize, v1};
use programs::{blocks::Blocks, exchange};

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
    /// The programs tell of each packet that they drop: [`Datapath::take_drop_log`].
    pub log_drops: bool,
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
    blocks: Blocks,
    maps: Maps,
    ebpf: Ebpf,
    lifter: Lifter,
    drop_log: Option<DropLog>,
}

impl Datapath {
    /// Hooks of a link that carries node traffic. What undoes translations comes before what makes them.
    pub const LINK: [Hook; 2] = [Hook::ToNet, Hook::FromNet];
    /// Hooks of such a link whose frames have no Ethernet header.
    pub const BARE_LINK: [Hook; 2] = [Hook::ToNetBare, Hook::FromNetBare];

    /// Checks the machine and the pins, creates what maps are missing, loads the programs. Attaches nothing:
    /// what an earlier agent attached goes on as it is until [`Self::attach_sockets`] and the like.
    pub fn open(config: &DatapathConfig) -> Result<Self, DatapathError> {
        let pins = Pins::new(&config.bpffs, &config.instance)?;
        preflight::check(&config.bpffs, &config.cgroup_root)?;
        let older = schema::check(&pins)? == schema::Found::Older;
        bpfsys::lift_memlock_limit();
        pins.create()?;
        let resumed = resize::resume(&pins)?;
        if older {
            v1::up(&pins, config)?;
        }
        schema::record(&pins)?;
        let found = Self::found(&pins, config)?;
        let sizes = match &found {
            // One thing after the other.
            Some(maps) if !older => resize::plan(maps, &config.capacities, &BTreeMap::new())?,
            _ => BTreeMap::new(),
        };
        let prepared = resize::prepare(&pins, found.as_ref(), config, sizes)?;
        let mut datapath = Self::of(config, pins, prepared)?;
        datapath.take_over(older, resumed)?;
        Ok(datapath)
    }

    /// Puts our programs in the place of those of an older version, or of those that go by maps that were being exchanged
    /// when an agent was killed.
    fn take_over(&mut self, older: bool, resumed: bool) -> Result<(), DatapathError> {
        let (pins, blocks) = (&self.pins, self.blocks);
        if older {
            return v1::finish(pins, blocks, &mut self.ebpf, &self.maps);
        }
        v1::retire(pins)?;
        v1::discard(pins)?;
        if resumed {
            let attached = exchange::Attached::find(pins, blocks)?;
            attached.exchange(&mut self.ebpf, pins, blocks)?;
        }
        Ok(())
    }

    /// The maps that are pinned, if all are: none after a first start that was cut off.
    fn found(pins: &Pins, config: &DatapathConfig) -> Result<Option<Maps>, DatapathError> {
        load::places(pins, &config.capacities, &BTreeMap::new())?;
        match Maps::open(pins) {
            Err(DatapathError::NotLoaded { .. }) => Ok(None),
            maps => maps.map(Some),
        }
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
        let drop_log = config.log_drops.then(|| DropLog::of(&mut ebpf));
        Ok(Self {
            config: config.clone(),
            blocks,
            maps,
            lifter: Lifter::new(&ebpf, &pins)?,
            pins,
            ebpf,
            drop_log: drop_log.transpose()?,
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

    /// Puts maps in force that a [`Resizer`] made; gives their capacities. Until it returns nobody else may write the maps. All
    /// clones of [`Self::maps`] and [`Self::lifter`] go by the new ones then. After an error some programs go by the new
    /// maps and others by the old ones: the next [`Self::open`] goes on from there.
    pub fn put_in_force(
        &mut self,
        mut prepared: Prepared,
    ) -> Result<BTreeMap<String, u32>, DatapathError> {
        let mut lifting = self.lifter.pause();
        prepared.put_in_force(&self.pins, self.blocks, &self.maps)?;
        *lifting = programs::lift::pod_programs(&prepared.ebpf)?;
        drop(lifting);
        self.ebpf = prepared.ebpf;
        if self.config.log_drops {
            self.drop_log = Some(DropLog::of(&mut self.ebpf)?);
        }
        Ok(prepared.sizes)
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// What the programs tell of packets that they drop, once, if the configuration asks for it.
    pub fn take_drop_log(&mut self) -> Option<DropLog> {
        self.drop_log.take()
    }

    /// Where things are pinned.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The loaded programs, for `BPF_PROG_TEST_RUN`.
    pub fn programs_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Attaches the socket programs to the cgroup root, or replaces those that are attached.
    pub fn attach_sockets(&self) -> Result<(), DatapathError> {
        programs::cgroup::attach(&self.ebpf, &self.pins, &self.config.cgroup_root)
    }

    /// Attaches the socket programs again if someone took one off; says whether that was so.
    pub fn mend_sockets(&self) -> Result<bool, DatapathError> {
        if programs::cgroup::are_attached(&self.pins, &self.config.cgroup_root)? {
            return Ok(false);
        }
        self.attach_sockets().map(|()| true)
    }

    /// Puts our programs in the place of those that an earlier agent left in the blocks of pods' interfaces of the
    /// calling thread's network namespace: once, before the first [`Self::attach_pod`].
    pub fn replace_blocks(&self) -> Result<(), DatapathError> {
        self.blocks.replace(&self.ebpf)
    }

    /// Attaches the programs of pods' host-side interfaces, or replaces those that are attached. Interfaces are
    /// looked up in the calling thread's network namespace. Quick, so by clsact at first; see [`Lifter`].
    pub fn attach_pods(
        &mut self,
        interfaces: &[u32],
    ) -> Result<Vec<Result<TcMode, DatapathError>>, DatapathError> {
        let (pins, blocks) = (&self.pins, self.blocks);
        programs::lift::attach(&mut self.ebpf, pins, blocks, interfaces, self.config.tc)
    }

    /// Those of these interfaces that have both programs of a pod, and how.
    pub fn attached_pods(
        &self,
        interfaces: &[u32],
    ) -> Result<BTreeMap<u32, TcMode>, DatapathError> {
        programs::lift::attached(&self.pins, self.blocks, interfaces)
    }

    /// Lifts interfaces of pods to TCX; nothing if clsact is preferred.
    pub fn lifter(&self) -> Option<Lifter> {
        match self.config.tc {
            TcPreference::Auto | TcPreference::Tcx => Some(self.lifter.clone()),
            TcPreference::Clsact => None,
        }
    }

    /// Attaches the programs of these hooks to an interface, or replaces those that are attached.
    pub fn attach(&mut self, ifindex: u32, hooks: &[Hook]) -> Result<TcMode, DatapathError> {
        let mut mode = TcMode::Tcx;
        for hook in hooks {
            let (ebpf, tc) = (&mut self.ebpf, self.config.tc);
            mode = programs::interface::attach(ebpf, &self.pins, *hook, ifindex, tc)?;
        }
        Ok(mode)
    }

    /// Whether the programs of these hooks are on an interface, whichever way they were attached.
    pub fn are_attached(&self, ifindex: u32, hooks: &[Hook]) -> Result<bool, DatapathError> {
        for hook in hooks {
            if !programs::interface::is_attached(&self.pins, *hook, ifindex)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes our tc programs off an interface. One that is gone, or has none, is no error.
    pub fn detach_interface(&self, ifindex: u32) -> Result<(), DatapathError> {
        programs::interface::detach(&self.pins, self.blocks, ifindex)
    }

    /// All pinned links.
    pub fn attachments(&self) -> Result<Vec<Attachment>, DatapathError> {
        programs::attachments::list(&self.pins)
    }

    /// Unpins links whose interface or cgroup is gone; returns their names.
    pub fn sweep(&self) -> Result<Vec<String>, DatapathError> {
        programs::attachments::sweep(&self.pins)
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
    /// About how many flows of each family have slots that no other may take.
    pub fn flows(&self) -> [u32; 2] {
        let now = clock::seconds();
        self.maps.flows().map(|flows| flows.sample(now))
    }

    /// The maps that should have another capacity, if these are configured and so many entries wait for room (by map);
    /// made, filled, and with programs for them. None if all are as they should be. Takes seconds.
    pub fn prepare(
        &self,
        configured: &Capacities,
        more: &BTreeMap<String, u32>,
    ) -> Result<Option<Prepared>, DatapathError> {
        let sizes = resize::plan(&self.maps, configured, more)?;
        if sizes.is_empty() {
            return Ok(None);
        }
        let config = DatapathConfig {
            capacities: configured.clone(),
            ..self.config.clone()
        };
        resize::prepare(&self.pins, Some(&self.maps), &config, sizes).map(Some)
    }
}

/// Takes our tc programs off these interfaces, loading nothing: for the clean-up. Goes on after errors.
pub fn detach_all(
    pins: &Pins,
    instance: &str,
    interfaces: impl IntoIterator<Item = u32>,
) -> Vec<DatapathError> {
    let blocks = Blocks::of(instance);
    let interfaces = interfaces.into_iter();
    let results = interfaces.map(|ifindex| programs::interface::detach(pins, blocks, ifindex));
    results.filter_map(Result::err).collect()
}
