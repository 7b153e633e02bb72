//! How far maps may grow: until all of them together take as much memory as is configured.

use std::collections::BTreeMap;

use super::size::{FLOWS, Sizes, Use, flow_maps, is_of_flows};
use crate::datapath::{Capacities, bpfsys::object::MapInfo, handle::MapKind};

/// Bytes that the kernel takes for an entry of a map, about, with its share of the table (kernel/bpf/hashtab.c, `lpm_trie.c`).
pub(super) fn entry_bytes(info: &MapInfo) -> u32 {
    let aligned = |bytes: u32| bytes.next_multiple_of(8);
    let (key, value) = (aligned(info.key_size), aligned(info.value_size));
    match MapKind::from_number(info.kind) {
        // Its head, and 16 bytes for its bucket.
        MapKind::Hash | MapKind::LruHash => 64 + key + value,
        // A node, and one between it and others.
        MapKind::Prefix => 2 * (40 + key) + value,
        _ => value,
    }
}

/// A map that is to be larger than it is and than is configured, or those of flows together.
#[derive(Debug)]
struct Growth<'a> {
    name: &'a str,
    configured: &'a Capacities,
    /// What it has, or is configured to have if that is more.
    from: u32,
    to: u32,
    /// Somebody waits for it.
    waits: bool,
}

impl Growth<'_> {
    /// The maps that have a capacity then.
    fn sizes(&self, capacity: u32) -> Sizes {
        if is_of_flows(self.name) {
            flow_maps(self.configured, capacity)
        } else {
            Sizes::from([(self.name.to_owned(), capacity)])
        }
    }
}

/// A plan without what would take more memory than maps may have: where a map may not grow as far as it should, as far as it
/// may, by doubling. What somebody waits for comes first.
pub(super) fn within(
    configured: &Capacities,
    uses: &BTreeMap<String, Use>,
    mut plan: Sizes,
) -> Sizes {
    if bytes(uses, &plan) <= configured.memory {
        return plan;
    }
    let mut growths = growths(configured, uses, &plan);
    growths.sort_by_key(|growth| (!growth.waits, growth.to));
    for growth in &growths {
        plan.extend(growth.sizes(growth.from));
    }
    for growth in growths {
        let mut capacity = growth.to;
        while capacity > growth.from {
            let mut tried = plan.clone();
            tried.extend(growth.sizes(capacity));
            if bytes(uses, &tried) <= configured.memory {
                plan = tried;
                break;
            }
            capacity /= 2;
        }
    }
    let differs = |name: &str, capacity| uses.get(name).is_some_and(|now| now.capacity != capacity);
    let flows_differ = plan
        .iter()
        .any(|(name, capacity)| is_of_flows(name) && differs(name, *capacity));
    plan.retain(|name, capacity| {
        if is_of_flows(name) {
            flows_differ
        } else {
            differs(name, *capacity)
        }
    });
    plan
}

/// What of a plan is neither configured nor there already.
fn growths<'a>(
    configured: &'a Capacities,
    uses: &BTreeMap<String, Use>,
    plan: &Sizes,
) -> Vec<Growth<'a>> {
    let by_map = configured.by_map().into_iter();
    let lead = by_map.filter(|(name, _)| *name == FLOWS[0] || !is_of_flows(name));
    let grown = lead.filter_map(|(name, capacity)| {
        let (now, to) = (uses.get(name)?, *plan.get(name)?);
        let from = capacity.max(now.capacity);
        let waits = if is_of_flows(name) {
            FLOWS.iter().any(|flows| waits(uses, flows))
        } else {
            waits(uses, name)
        };
        (to > from).then_some(Growth {
            name,
            configured,
            from,
            to,
            waits,
        })
    });
    grown.collect()
}

fn waits(uses: &BTreeMap<String, Use>, name: &str) -> bool {
    uses.get(name).is_some_and(|now| now.more > 0)
}

/// What all maps take, if they are full once a plan is carried out.
fn bytes(uses: &BTreeMap<String, Use>, plan: &Sizes) -> u64 {
    let each = uses.iter().map(|(name, now)| {
        let capacity = plan.get(name).copied().unwrap_or(now.capacity);
        u64::from(capacity) * u64::from(now.bytes)
    });
    each.sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::datapath::{capacities::SIZED, migrate::size::plan};

    /// Ten bytes an entry.
    fn uses(
        configured: &Capacities,
        now: impl Fn(&str, u32) -> (u32, u32, u32),
    ) -> BTreeMap<String, Use> {
        let used = |(name, capacity)| {
            let (capacity, entries, more) = now(name, capacity);
            let now = Use {
                capacity,
                entries,
                more,
                reach: entries,
                most: 1 << 24,
                bytes: 10,
                ..Use::default()
            };
            (name.to_owned(), now)
        };
        configured.by_map().map(used).into()
    }

    fn with(memory: u64) -> Capacities {
        Capacities {
            memory,
            ..Capacities::small()
        }
    }

    fn configured_bytes() -> u64 {
        let by_map = Capacities::small().by_map();
        by_map.iter().map(|(_, n)| 10 * u64::from(*n)).sum()
    }

    #[test]
    fn maps_grow_as_far_as_memory_goes_and_who_waits_comes_first() {
        let full = |name: &str, capacity| match name {
            "CIDRS4" => (capacity, capacity, 0),
            "INTERVALS" => (capacity, 5, 3000),
            _ => (capacity, 0, 0),
        };
        // What is configured is made whatever it takes.
        let none = with(0);
        assert_eq!(plan(&none, &uses(&none, full)), Sizes::new());
        let bytes = configured_bytes();
        for (more, blocks) in [
            (0, None),
            (10_239, None),
            (10_240, Some(2048)),
            (30_720, Some(4096)),
        ] {
            let some = with(bytes + more);
            let plan = plan(&some, &uses(&some, full));
            assert_eq!(plan.get("INTERVALS").copied(), blocks, "{more}");
            assert_eq!(plan.get("CIDRS4"), None, "{more}");
        }
        let enough = with(bytes + 30_720 + 40_960);
        assert_eq!(plan(&enough, &uses(&enough, full))["CIDRS4"], 8192);
    }

    #[test]
    fn maps_of_flows_grow_together_or_not_at_all() {
        let full = |name: &str, capacity| match name {
            "FLOWS6" => (capacity, capacity, 0),
            _ => (capacity, 0, 0),
        };
        let grown = 10 * 2 * (8192 + 17408);
        let short = with(configured_bytes() + grown - 1);
        assert_eq!(plan(&short, &uses(&short, full)), Sizes::new());
        let enough = with(configured_bytes() + grown);
        assert_eq!(
            plan(&enough, &uses(&enough, full)),
            flow_maps(&enough, 16384)
        );
    }

    proptest! {
        #[test]
        fn a_plan_within_memory_asks_for_nothing_more(
            more in 0_u64..1_000_000, fill in proptest::collection::vec(0_u32..=100, SIZED),
            waiting in proptest::collection::vec(prop_oneof![4 => Just(0_u32), 1 => 1_u32..10_000], SIZED),
        ) {
            let configured = with(configured_bytes() + more);
            let names = configured.by_map().map(|(name, _)| name);
            let at = |name: &str| names.iter().position(|other| *other == name).unwrap();
            let before = uses(&configured, |name, capacity| {
                (capacity, capacity * fill[at(name)] / 100, waiting[at(name)])
            });
            let first = plan(&configured, &before);
            prop_assert!(bytes(&before, &first) <= configured.memory);
            let after = before.into_iter().map(|(name, now)| {
                let capacity = first.get(&name).copied().unwrap_or(now.capacity);
                // It waits on for what cannot be.
                (name, Use { capacity, ..now })
            }).collect();
            let second = plan(&configured, &after);
            prop_assert!(bytes(&after, &second) <= configured.memory);
        }
    }

    #[test]
    fn entries_of_each_kind_take_memory() {
        let info = |kind, key_size, value_size| MapInfo {
            kind,
            key_size,
            value_size,
            ..MapInfo::default()
        };
        let bytes =
            [info(1, 20, 12), info(2, 4, 256), info(11, 24, 4)].map(|info| entry_bytes(&info));
        assert_eq!(bytes, [104, 256, 136]);
    }
}
