//! Evicting maps that are private to a load of the programs are large enough for 64 processors: in kernels before 6.16
//! each sets up to 128 free entries aside for itself, and a processor that finds none evicts as many at once.

use aya_obj::Object;
use proxy_agent::datapath::{Capacities, object::OBJECT};

/// As many processors as the largest machines that we reckon with have.
const MANY: u32 = 64;
/// `LOCAL_FREE_TARGET` (<https://elixir.bootlin.com/linux/v6.1/source/kernel/bpf/bpf_lru_list.c#L11>).
const SET_ASIDE: u32 = 128;
/// `BPF_MAP_TYPE_LRU_HASH`.
const LRU_HASH: u32 = 9;

#[test]
fn private_maps_that_evict_are_large_enough_for_many_processors() {
    let object = Object::parse(OBJECT).unwrap();
    let sized = Capacities::default().by_map();
    let maps = object.maps.iter();
    let private = maps.filter(|(name, _)| sized.iter().all(|(sized, _)| sized != name));
    let small: Vec<_> = private
        .filter(|(_, map)| map.map_type() == LRU_HASH && map.max_entries() < SET_ASIDE * MANY)
        .map(|(name, map)| (name, map.max_entries()))
        .collect();
    assert!(small.is_empty(), "{small:?} of {}", SET_ASIDE * MANY);
}
