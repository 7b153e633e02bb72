//! Capacities of maps, as they are configured and as the datapath has them.

use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::datapath::Capacities;

/// Capacities of maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Maps {
    /// What the capacities below begin from.
    #[schemars(extend("x-flag" = "map-size"))]
    pub size: MapSize,
    /// Frontends of each family.
    pub frontends: u32,
    /// Backends of each family. With `size: large` as many as a thousandth of the machine's memory has empty tables for, 131072 to
    /// 1048576.
    pub backends: u32,
    /// Slots of all backend sets.
    pub backend_slots: u32,
    /// Members of the sets of UDP Services and of those with affinity.
    pub backend_members: u32,
    /// Chunks of Maglev tables, 512 bytes each: a table of the default size has 74.
    pub maglev: u32,
    /// Session affinities.
    pub affinity: u32,
    /// Source ranges of load balancers' addresses, of each family: those of a Service count once for each of its ports.
    pub source_ranges: u32,
    /// Tracked flows of each family.
    #[schemars(extend("x-flag" = "conntrack-max"))]
    pub conntrack: u32,
    /// Pods of this node.
    pub endpoints: u32,
    /// Addresses of pods and nodes that policies know, of each family.
    pub peers: u32,
    /// Ranges that policies know, of each family.
    pub cidrs: u32,
    /// Cells of policy rows, 8 bytes each. With `size: large` as many as a thousandth of the machine's memory
    /// holds, 2 to 128 MiB. A policy needs one for each class of peers in each row.
    pub policy_cells: u32,
    /// Blocks of port intervals of policies, 256 bytes each. With `size: large` as many as a 2048th of the machine's
    /// memory holds, 1 to 64 MiB. A policy needs one for each 21 ranges of ports that a class of peers has.
    pub intervals: u32,
    /// MiB of memory beyond which no map grows: what all maps would take together if they were full. 0 means a quarter of the
    /// machine's memory. What finds no room then is refused by name, and tried again. Capacities given here are made in any case.
    pub memory: u32,
}

/// A set of capacities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MapSize {
    /// For 10 000 Services and 100 000 pods.
    #[default]
    Large,
    /// For many nodes on one machine: tests and demonstrations.
    Small,
}

impl Maps {
    /// Capacities of the maps that are made now.
    pub fn capacities(&self) -> Capacities {
        let Self {
            size,
            frontends,
            backends,
            backend_slots,
            backend_members,
            maglev,
            affinity,
            source_ranges,
            conntrack,
            endpoints,
            peers,
            cidrs,
            policy_cells,
            intervals,
            memory,
        } = *self;
        let machine = Capacities::for_memory(known_memory());
        let base = match size {
            MapSize::Large => machine.clone(),
            MapSize::Small => Capacities::small(),
        };
        let or = |given: u32, default: u32| if given == 0 { default } else { given };
        Capacities {
            frontends: or(frontends, base.frontends),
            backends: or(backends, base.backends),
            backend_slots: or(backend_slots, base.backend_slots),
            backend_members: or(backend_members, base.backend_members),
            maglev: or(maglev, base.maglev),
            affinity: or(affinity, base.affinity),
            source_ranges: or(source_ranges, base.source_ranges),
            conntrack: or(conntrack, base.conntrack),
            endpoints: or(endpoints, base.endpoints),
            peers: or(peers, base.peers),
            cidrs: or(cidrs, base.cidrs),
            policy_cells: or(policy_cells, base.policy_cells),
            intervals: or(intervals, base.intervals),
            memory: match memory {
                0 => machine.memory,
                mebibytes => u64::from(mebibytes) << 20,
            },
            ..base
        }
    }
}

/// As it was when somebody looked last: capacities are asked for by who reads no files.
static MEMORY: AtomicU64 = AtomicU64::new(0);

/// Looks how much memory the machine has: it may get more while it runs.
pub fn look_at_memory() {
    MEMORY.store(machine_memory(), Ordering::Relaxed);
}

fn known_memory() -> u64 {
    if MEMORY.load(Ordering::Relaxed) == 0 {
        look_at_memory();
    }
    MEMORY.load(Ordering::Relaxed)
}

/// Bytes of this machine's memory; 0 if it does not say.
fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|total| total.trim().strip_suffix(" kB"));
    kilobytes.and_then(|n| n.parse().ok()).unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_begin_from_the_size_and_the_machine() {
        let machine = machine_memory();
        assert!(machine > 1 << 28, "{machine}");
        let large = Maps::default().capacities();
        assert_eq!(large, Capacities::for_memory(machine));
        let given = Maps {
            size: MapSize::Small,
            policy_cells: 77,
            memory: 3,
            ..Maps::default()
        };
        let expected = Capacities {
            policy_cells: 77,
            memory: 3 << 20,
            ..Capacities::small()
        };
        assert_eq!(given.capacities(), expected);
    }
}
