//! How large a map is to be.

use std::collections::BTreeMap;

use proxy_common::endpoints::MAX_ENDPOINTS;

use super::ceiling;
use crate::datapath::Capacities;

/// Maps with their new capacities.
pub type Sizes = BTreeMap<String, u32>;

/// How a map is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Its capacity.
    pub capacity: u32,
    /// Entries in it.
    pub entries: u32,
    /// Entries that somebody waits to write.
    pub more: u32,
    /// The least capacity that its entries fit in.
    pub reach: u32,
    /// It makes room by itself.
    pub evicts: bool,
    /// It grows no larger than this, unless it is configured so.
    pub most: u32,
    /// Bytes that an entry takes.
    pub bytes: u32,
}

/// The capacity that a map should have: what is configured, doubled until a quarter of it is free. A larger map, which was
/// grown or is configured smaller by now, is only made smaller if what it holds could double there. Where somebody waits, there
/// is no room, whatever is counted: not each entry in use can be told from a free one, nor is each free one of use.
pub fn target(configured: u32, now: Use) -> u32 {
    if now.evicts || now.entries == 0 && now.more == 0 {
        return configured.max(now.reach);
    }
    let needed = now.entries.saturating_add(now.more);
    let mut least = fit(configured, needed, now.most);
    if now.more > 0 {
        let larger = now.capacity.saturating_mul(2).min(now.most);
        least = least.max(larger).max(now.capacity);
    }
    if least >= now.capacity {
        return least;
    }
    let loose = fit(configured, needed.saturating_mul(2), now.most).max(now.reach);
    loose.min(now.capacity)
}

/// The capacity doubled until a quarter of it is free beside so many entries.
fn fit(configured: u32, entries: u32, most: u32) -> u32 {
    let mut capacity = configured.max(1);
    while capacity < most && u64::from(entries) * 4 > u64::from(capacity) * 3 {
        capacity = capacity.saturating_mul(2).min(most);
    }
    capacity
}

/// The maps that are to be made anew, each with its capacity. Maps that are not pinned yet are made as configured anyway.
/// All maps of flows go together: they are as large as the fuller family needs. None grows beyond the memory that there is for
/// all.
pub fn plan(configured: &Capacities, uses: &BTreeMap<String, Use>) -> Sizes {
    let mut plan = Sizes::new();
    for (name, capacity) in configured.by_map() {
        let Some(now) = uses.get(name).filter(|_| !is_of_flows(name)) else {
            continue;
        };
        let wanted = if name == WORDS {
            words(configured, uses)
        } else {
            target(capacity, *now)
        };
        if wanted != now.capacity {
            plan.insert(name.to_owned(), wanted);
        }
    }
    plan.extend(flows(configured, uses));
    if uses.values().any(|now| now.more > 0) {
        // What waits comes first, and may fill what is loose now.
        plan.retain(|name, wanted| uses.get(name).is_none_or(|now| *wanted > now.capacity));
    }
    ceiling::within(configured, uses, plan)
}

/// A word for each endpoint that there may be, used or not.
const WORDS: &str = "POLICY_WORDS";

fn words(configured: &Capacities, uses: &BTreeMap<String, Use>) -> u32 {
    let endpoints = uses.get("ENDPOINTS").copied().unwrap_or_default();
    target(configured.endpoints, endpoints).max(MAX_ENDPOINTS)
}

/// The maps of flows, if they are to be made anew.
fn flows(configured: &Capacities, uses: &BTreeMap<String, Use>) -> Sizes {
    let families = FLOWS.into_iter().filter_map(|name| uses.get(name));
    // Not all slots are looked at when one is needed: where two thirds are taken, there may be none near.
    let families = families.map(|now| Use {
        entries: now.entries.saturating_add(now.entries / 2),
        ..*now
    });
    let wanted = families.map(|now| target(configured.conntrack, now));
    let Some(conntrack) = wanted.max() else {
        return Sizes::new();
    };
    let maps = flow_maps(configured, conntrack);
    let differs =
        |(name, size): (&String, &u32)| uses.get(name).is_some_and(|now| now.capacity != *size);
    if maps.iter().any(differs) {
        maps
    } else {
        Sizes::new()
    }
}

/// The maps of flows' records.
pub(super) const FLOWS: [&str; 2] = ["FLOWS4", "FLOWS6"];

/// All maps of flows, for so many of each family.
pub(super) fn flow_maps(configured: &Capacities, conntrack: u32) -> Sizes {
    let sized = Capacities {
        conntrack,
        ..configured.clone()
    };
    let maps = sized.by_map().into_iter();
    maps.filter(|(name, _)| is_of_flows(name))
        .map(|(name, size)| (name.to_owned(), size))
        .collect()
}

/// Whether a map is one of those that hold flows.
pub fn is_of_flows(name: &str) -> bool {
    name.starts_with("FLOW")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn used(capacity: u32, entries: u32) -> Use {
        Use {
            capacity,
            entries,
            reach: entries,
            most: 1 << 24,
            ..Use::default()
        }
    }

    #[test]
    fn a_map_grows_before_it_is_full_and_shrinks_when_it_is_loose() {
        for (configured, now, wanted) in [
            // As configured.
            (100, used(100, 0), 100),
            (100, used(100, 75), 100),
            (200, used(100, 50), 200),
            // Pressure.
            (100, used(100, 76), 200),
            (100, used(100, 100), 200),
            // What was grown stays as long as it is of use.
            (100, used(200, 76), 200),
            (100, used(200, 38), 200),
            (100, used(200, 37), 100),
            // Configured smaller: not below what it holds.
            (64, used(1024, 1000), 2048),
            (64, used(1024, 500), 1024),
            (64, used(1024, 100), 512),
            (64, used(1024, 1), 64),
        ] {
            assert_eq!(target(configured, now), wanted, "{configured} {now:?}");
        }
    }

    #[test]
    fn what_waits_counts_and_what_evicts_does_not_grow() {
        let waits = Use {
            more: 150,
            ..used(100, 50)
        };
        assert_eq!(target(100, waits), 400);
        // Whoever waits found no room, whatever is counted; at the most, nothing helps.
        let waits = |more, capacity| Use {
            more,
            most: 400,
            ..used(capacity, 5)
        };
        assert_eq!(target(100, waits(1, 100)), 200);
        assert_eq!(target(100, waits(1, 300)), 400);
        assert_eq!(target(100, waits(1000, 400)), 400);
        assert_eq!(target(100, waits(1, 500)), 500);
        let evicts = Use {
            evicts: true,
            reach: 0,
            ..used(100, 100)
        };
        assert_eq!(target(100, evicts), 100);
        assert_eq!(target(50, evicts), 50);
    }

    #[test]
    fn maps_of_flows_are_resized_together() {
        let configured = Capacities {
            conntrack: 1000,
            ..Capacities::small()
        };
        let mut uses: BTreeMap<String, Use> = configured
            .by_map()
            .map(|(name, capacity)| (name.to_owned(), used(capacity, 0)))
            .into();
        assert_eq!(plan(&configured, &uses), Sizes::new());
        uses.insert("FLOWS6".to_owned(), used(1000, 800));
        let plan = plan(&configured, &uses);
        let named = |name: &str| plan[name];
        assert_eq!(plan.len(), 4, "{plan:?}");
        assert_eq!((named("FLOWS4"), named("FLOWS6")), (2000, 2000));
        assert_eq!((named("FLOW_INDEX4"), named("FLOW_INDEX6")), (4250, 4250));
    }

    proptest! {
        #[test]
        fn a_plan_that_was_carried_out_asks_for_nothing_more(
            configured in 1_u32..10_000, capacity in 1_u32..100_000, entries in 0_u32..100_000,
        ) {
            let entries = entries.min(capacity);
            let now = used(capacity, entries);
            let first = target(configured, now);
            prop_assert!(first >= entries);
            prop_assert_eq!(target(configured, used(first, entries)), first);
        }
    }
}
