//! The drop counters, summed over the CPUs.

use std::io;

use proxy_common::counters::{Counter, REASONS, XDP_VERDICTS};

use super::{
    bpfsys::{self, map},
    handle::MapHandle,
};

/// `DROPS`.
#[derive(Clone, Debug)]
pub struct Drops {
    map: MapHandle,
    cpus: usize,
}

impl Drops {
    pub(super) fn new(map: MapHandle) -> io::Result<Self> {
        map.check_sizes(size_of::<u32>(), size_of::<Counter>())?;
        Ok(Self {
            map,
            cpus: bpfsys::cpus()?,
        })
    }

    /// Packets and bytes dropped for a reason (`proxy_common::counters`) since the maps were made.
    pub fn get(&self, reason: u32) -> io::Result<Counter> {
        let per_cpu = map::lookup_per_cpu::<Counter>(self.map.open(), reason, self.cpus)?;
        Ok(per_cpu.iter().fold(Counter::default(), |sum, c| Counter {
            packets: sum.packets + c.packets,
            bytes: sum.bytes + c.bytes,
        }))
    }

    /// What became of frames that the XDP programs did not drop (`XDP_VERDICTS`), with their counters.
    pub fn xdp(&self) -> io::Result<Vec<(&'static str, Counter)>> {
        let verdicts = XDP_VERDICTS.iter();
        verdicts
            .map(|(number, name)| Ok((*name, self.get(*number)?)))
            .collect()
    }

    /// All reasons of this version with their counters.
    pub fn all(&self) -> io::Result<Vec<(u32, Counter)>> {
        REASONS.iter().map(|r| Ok((*r, self.get(*r)?))).collect()
    }
}
