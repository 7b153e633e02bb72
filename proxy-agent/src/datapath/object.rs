//! The eBPF object, embedded: the agent is one file.

use std::collections::BTreeMap;

use aya_obj::{EbpfSectionKind, Object};

use super::{bpfsys::object::MapInfo, capacities::Capacities, error::DatapathError};

/// The object, as `build.rs` made it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/proxy-ebpf.o"));

/// Maps that are no part of the ABI: scratch space, and what is remembered for a second or a few. Each load of the
/// programs has its own, unpinned, so that a later version may shape them as it likes; the programs that an earlier
/// agent attached go on with theirs.
const PRIVATE: [&str; 13] = [
    "CALIBRATION",
    "SCRATCH",
    "NEXT_HOPS",
    "NEXT_HOP_ASKED",
    "NODE_RANGE_KEY",
    "NEIGHBOURS_SEEN",
    "FLOW_CURSOR",
    "ANSWERED",
    "HELD_FRAGMENTS",
    "HELD_DATAGRAMS",
    "HELD_COUNT",
    "FIRST_FRAGMENT",
    "TUNNEL_KEY",
];

/// The maps to be pinned that the object declares, with the capacities that they are to get.
pub(super) fn maps(capacities: &Capacities) -> Result<BTreeMap<String, MapInfo>, DatapathError> {
    let object = Object::parse(OBJECT).map_err(|e| DatapathError::Object(e.to_string()))?;
    let wanted = BTreeMap::from(capacities.by_map());
    let maps = object.maps.iter();
    Ok(maps
        .filter(|(_, map)| map.section_kind() == EbpfSectionKind::BtfMaps)
        .filter(|(name, _)| !PRIVATE.contains(&name.as_str()))
        .map(|(name, map)| {
            let entries = wanted.get(name.as_str()).copied();
            let info = MapInfo {
                kind: map.map_type(),
                id: 0,
                key_size: map.key_size(),
                value_size: map.value_size(),
                max_entries: entries.unwrap_or(map.max_entries()),
                flags: map.map_flags(),
            };
            (name.clone(), info)
        })
        .collect())
}

/// Names of the programs in the object.
pub fn programs() -> Result<Vec<String>, DatapathError> {
    let object = Object::parse(OBJECT).map_err(|e| DatapathError::Object(e.to_string()))?;
    let mut names: Vec<String> = object.programs.into_keys().collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::datapath::maps::{NAMES, PROGRAMS_OWN};

    #[test]
    fn a_map_is_of_the_abi_or_private() {
        let abi: BTreeSet<&str> = NAMES.iter().copied().chain(PROGRAMS_OWN).collect();
        let pinned = maps(&Capacities::default()).unwrap();
        let pinned: BTreeSet<&str> = pinned.keys().map(String::as_str).collect();
        assert_eq!(
            pinned, abi,
            "a new map has its types in proxy_common, or is PRIVATE"
        );
    }
}
