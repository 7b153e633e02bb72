//! The eBPF object, embedded: the agent is one file.

use std::collections::BTreeMap;

use aya_obj::{EbpfSectionKind, Object};

use super::{bpfsys::object::MapInfo, capacities::Capacities, error::DatapathError};

/// The object, as `build.rs` made it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/proxy-ebpf.o"));

/// The maps that the object declares, with the capacities that they are to get.
pub(super) fn maps(capacities: &Capacities) -> Result<BTreeMap<String, MapInfo>, DatapathError> {
    let object = Object::parse(OBJECT).map_err(|e| DatapathError::Object(e.to_string()))?;
    let wanted = BTreeMap::from(capacities.by_map());
    let maps = object.maps.iter();
    Ok(maps
        .filter(|(_, map)| map.section_kind() == EbpfSectionKind::BtfMaps)
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
