//! The picture as mirrors of maps have it, for the comparison.

use proxy_common::backends::SlotKey;

use super::Image;
use crate::{
    datapath::mirror::Written,
    service::{
        plan::slot,
        pool::{Backend, Pool},
    },
};

impl<B: Backend> Written<u32, B> for Pool<B> {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, id: &u32) -> Option<B> {
        self.get(*id)
    }

    fn after(&self, id: Option<&u32>, limit: usize) -> Vec<u32> {
        let ids = self.entries().map(|(id, _)| id);
        ids.filter(|known| id.is_none_or(|id| known > id))
            .take(limit)
            .collect()
    }
}

/// `BACKEND_SLOTS`.
pub struct Slots<'a>(pub &'a Image);

impl Written<SlotKey, u32> for Slots<'_> {
    fn len(&self) -> usize {
        self.0.slot_count
    }

    fn get(&self, key: &SlotKey) -> Option<u32> {
        let slots = self.0.slots(key.set);
        let id = slots.get(key.index as usize).copied();
        id.filter(|id| *id != 0)
    }

    fn after(&self, key: Option<&SlotKey>, limit: usize) -> Vec<SlotKey> {
        let from = key.map_or(0, |key| key.set);
        let sets = self.0.sets.iter().filter(|(set, _)| *set >= from);
        let slots = sets.flat_map(|(set, known)| {
            let used = known.slots.iter().enumerate().filter(|(_, id)| **id != 0);
            used.map(move |(index, _)| slot(set, index))
        });
        slots
            .filter(|slot| key.is_none_or(|key| slot > key))
            .take(limit)
            .collect()
    }
}
