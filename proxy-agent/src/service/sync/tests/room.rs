//! Where a map has no room.

use super::*;
use crate::{
    service::MemoryMaps,
    subject::{Room, growth::InVain},
};

#[test]
fn what_waits_for_a_map_that_grows_is_no_fault_of_its_service() {
    let maps = MemoryMaps::new(1, 1, 0);
    let mut sync = ServiceSync::new(maps.tables(), "here").unwrap();
    let shape = Shape::node_port(vec![(1, true, false), (2, false, false)]);
    let report = sync.sync(&snapshot(&[Some(shape)]), &all_dirty(1));
    assert_eq!(report.failed.len(), 1);
    let mut room = Room::new();
    sync.waits_for_room(&mut room);
    assert_eq!(room.len(), 1, "{room:?}");
    assert_eq!(sync.notices(&InVain::new()), []);
    let in_vain: InVain = room.into_keys().collect();
    let told = sync.notices(&in_vain);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].object, name(0));
}
