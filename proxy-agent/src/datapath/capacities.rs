//! How many entries each map holds.

use proxy_common::{
    endpoints::MAX_ENDPOINTS,
    policy::{
        cells::{CELLS_DEFAULT, LIST_NUMBERS, ROW_STRIDE},
        intervals::{BLOCKS_DEFAULT, IntervalBlock},
        words::ROW_LIMIT,
    },
};

/// The most cells of policy rows that are taken without being asked for (128 MiB).
const CELLS_MAX: u32 = 1 << 24;
/// The most blocks of ports that are taken without being asked for (64 MiB).
const BLOCKS_MAX: u32 = 1 << 18;

/// The most backends of a family that are taken without being asked for (16 MiB of empty table).
const BACKENDS_MAX: u32 = 1 << 20;
/// Bytes that the kernel takes for a bucket of a hash map, of which there is one for each entry.
const BUCKET: u64 = 16;

/// No map is made larger than this without being asked for.
const MOST: u32 = 1 << 24;

/// To how many entries a map may grow that is configured smaller, if there is memory for it ([`Capacities::memory`]): as many
/// as can be named.
pub fn most(map: &str) -> u32 {
    match map {
        "POLICY_CELLS" => ROW_LIMIT * ROW_STRIDE,
        "INTERVALS" => LIST_NUMBERS,
        _ => MOST,
    }
}

/// Capacities of the maps, in entries.
///
/// Hash maps take memory as they fill (their empty tables take 16 bytes an entry); evicting maps and arrays take all of
/// it at once: about 100 bytes an entry for IPv4 and 170 for IPv6, and 64 and 112 for a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// `FRONTENDS4`, `FRONTENDS6`, `VIPS4` and `VIPS6`, each.
    pub frontends: u32,
    /// `BACKENDS4` and `BACKENDS6`, each.
    pub backends: u32,
    /// `BACKEND_SLOTS`.
    pub backend_slots: u32,
    /// `BACKEND_MEMBERS`.
    pub backend_members: u32,
    /// `MAGLEV`, in chunks: a table of the default size takes 74.
    pub maglev: u32,
    /// `AFFINITY`; evicts.
    pub affinity: u32,
    /// `SOURCES4` and `SOURCES6`, each.
    pub source_ranges: u32,
    /// `FLOWS4` and `FLOWS6`, each: flows that are tracked. `FLOW_INDEX*` is sized by it.
    pub conntrack: u32,
    /// `POLICY_WORDS` (at least 4096), `ENDPOINTS`, `INTERFACES`, `CLIENTS`, `LOCAL_PODS4` and `LOCAL_PODS6`, each.
    pub endpoints: u32,
    /// `FRAGMENTS4` and `FRAGMENTS6`, each; evicts.
    pub fragments: u32,
    /// `INSIDE4` and `INSIDE6`, `TUNNELS4` and `TUNNELS6`, each: a node takes two or three. `ROUTE_SOURCES4` and `ROUTE_SOURCES6`,
    /// `ROUTE_MTUS4` and `ROUTE_MTUS6`, too.
    pub inside: u32,
    /// `NODE_ADDRESSES4` and `NODE_ADDRESSES6`, `NODE_RANGES4` and `NODE_RANGES6`, each.
    pub node_addresses: u32,
    /// `PEERS4` and `PEERS6`, each; two generations live beside each other.
    pub peers: u32,
    /// `CIDRS4` and `CIDRS6`, each; two generations live beside each other.
    pub cidrs: u32,
    /// `POLICY_CELLS`.
    pub policy_cells: u32,
    /// `INTERVALS`, in blocks.
    pub intervals: u32,
    /// Bytes that all these maps may take together by growing, each counted as if it were full. What the fields above say
    /// they take in any case.
    pub memory: u64,
}

impl Default for Capacities {
    /// For clusters of 10 000 Services and 100 000 pods.
    fn default() -> Self {
        Self {
            frontends: 1 << 17,
            backends: 1 << 17,
            backend_slots: 1 << 19,
            backend_members: 1 << 18,
            maglev: 1 << 16,
            affinity: 1 << 16,
            source_ranges: 1 << 17,
            conntrack: 1 << 18,
            endpoints: MAX_ENDPOINTS,
            fragments: 1 << 13,
            inside: 1 << 16,
            node_addresses: 1 << 10,
            peers: 1 << 18,
            cidrs: 1 << 17,
            policy_cells: CELLS_DEFAULT,
            intervals: BLOCKS_DEFAULT,
            memory: u64::MAX,
        }
    }
}

/// How many maps have capacities of their own.
pub const SIZED: usize = 42;

impl Capacities {
    /// For such clusters, on a machine with so many bytes of memory: a thousandth of it for the cells of
    /// policy rows (8 bytes each), half as much for their lists of ports, and a thousandth for the empty tables of backends, all
    /// of it taken at once. 16 GiB hold 2 million cells (1 000 rows of 2 000 classes), 600 different lists of 1 000 ports, and
    /// have room for half a million backends of each family: machines that large are in clusters that large, and what fits is
    /// programmed by the first sync, while a map that has to grow takes seconds. Maps may grow until they take a quarter of the
    /// memory.
    pub fn for_memory(bytes: u64) -> Self {
        let cells = (bytes >> 10) / size_of::<u64>() as u64;
        let cells = cells.clamp(u64::from(CELLS_DEFAULT), u64::from(CELLS_MAX));
        let blocks = (bytes >> 11) / size_of::<IntervalBlock>() as u64;
        let blocks = blocks.clamp(u64::from(BLOCKS_DEFAULT), u64::from(BLOCKS_MAX));
        let backends = (bytes >> 10) / (2 * BUCKET);
        let least = Self::default().backends;
        let backends = backends.clamp(u64::from(least), u64::from(BACKENDS_MAX));
        Self {
            backends: 1 << backends.ilog2(),
            policy_cells: 1 << cells.ilog2(),
            intervals: 1 << blocks.ilog2(),
            memory: bytes / 4,
            ..Self::default()
        }
    }

    /// `FLOW_INDEX4` and `FLOW_INDEX6`, each: both directions of each flow, and an eighth more slots' worth for keys that
    /// are still to be removed.
    pub const fn flow_index(&self) -> u32 {
        let (both, spare) = (self.conntrack.saturating_mul(2), self.conntrack / 8);
        both.saturating_add(spare)
    }

    /// Small maps, for tests and demonstrations that run many nodes on one machine.
    pub fn small() -> Self {
        Self {
            frontends: 4096,
            backends: 4096,
            backend_slots: 16384,
            backend_members: 16384,
            maglev: 1 << 12,
            affinity: 1024,
            source_ranges: 4096,
            conntrack: 8192,
            endpoints: 256,
            fragments: 512,
            inside: 1024,
            node_addresses: 64,
            peers: 4096,
            cidrs: 4096,
            policy_cells: 1 << 14,
            intervals: 1024,
            memory: u64::MAX,
        }
    }

    /// The maps whose capacity is not fixed by the object, by name.
    pub fn by_map(&self) -> [(&'static str, u32); SIZED] {
        [
            ("FRONTENDS4", self.frontends),
            ("FRONTENDS6", self.frontends),
            ("VIPS4", self.frontends),
            ("VIPS6", self.frontends),
            ("BACKENDS4", self.backends),
            ("BACKENDS6", self.backends),
            ("BACKEND_SLOTS", self.backend_slots),
            ("BACKEND_MEMBERS", self.backend_members),
            ("MAGLEV", self.maglev),
            ("AFFINITY", self.affinity),
            ("SOURCES4", self.source_ranges),
            ("SOURCES6", self.source_ranges),
            ("FLOW_INDEX4", self.flow_index()),
            ("FLOW_INDEX6", self.flow_index()),
            ("FLOWS4", self.conntrack),
            ("FLOWS6", self.conntrack),
            ("ENDPOINTS", self.endpoints),
            ("INTERFACES", self.endpoints),
            ("CLIENTS", self.endpoints),
            ("LOCAL_PODS4", self.endpoints),
            ("LOCAL_PODS6", self.endpoints),
            ("FRAGMENTS4", self.fragments),
            ("FRAGMENTS6", self.fragments),
            ("INSIDE4", self.inside),
            ("INSIDE6", self.inside),
            ("ROUTE_SOURCES4", self.inside),
            ("ROUTE_SOURCES6", self.inside),
            ("TUNNELS4", self.inside),
            ("TUNNELS6", self.inside),
            ("NODE_ADDRESSES4", self.node_addresses),
            ("NODE_ADDRESSES6", self.node_addresses),
            ("NODE_RANGES4", self.node_addresses),
            ("NODE_RANGES6", self.node_addresses),
            ("ROUTE_MTUS4", self.inside),
            ("ROUTE_MTUS6", self.inside),
            ("PEERS4", self.peers),
            ("PEERS6", self.peers),
            ("CIDRS4", self.cidrs),
            ("CIDRS6", self.cidrs),
            ("POLICY_WORDS", self.endpoints.max(MAX_ENDPOINTS)),
            ("POLICY_CELLS", self.policy_cells),
            ("INTERVALS", self.intervals),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::Capacities;

    #[test]
    fn the_index_of_flows_holds_both_directions_and_some_spare() {
        let flows = |conntrack| Capacities {
            conntrack,
            ..Capacities::default()
        };
        assert_eq!(flows(8192).flow_index(), 17408);
        assert_eq!(flows(u32::MAX).flow_index(), u32::MAX);
    }

    #[test]
    fn policy_has_more_room_on_larger_machines() {
        let cells = |gibibytes: u64| Capacities::for_memory(gibibytes << 30).policy_cells;
        assert_eq!(cells(0), 1 << 18);
        assert_eq!(cells(2), 1 << 18);
        assert_eq!(cells(16), 1 << 21);
        assert_eq!(cells(24), 1 << 21);
        assert_eq!(cells(4096), 1 << 24);
        let blocks = |gibibytes: u64| Capacities::for_memory(gibibytes << 30).intervals;
        assert_eq!(
            [0, 2, 16, 4096].map(blocks),
            [1 << 12, 1 << 12, 1 << 15, 1 << 18]
        );
    }

    #[test]
    fn large_machines_have_room_for_the_backends_of_large_clusters() {
        let backends = |gibibytes: u64| Capacities::for_memory(gibibytes << 30).backends;
        assert_eq!(
            [0, 2, 4, 8, 16, 4096].map(backends),
            [1 << 17, 1 << 17, 1 << 17, 1 << 18, 1 << 19, 1 << 20]
        );
    }
}
