//! Flows in ordinary memory, for tests.

use nix::{
    sys::memfd::{MFdFlags, memfd_create},
    unistd::ftruncate,
};
use proxy_common::conntrack::Flow4;

use super::{Family, Flows};
use crate::datapath::bpfsys::map::bytes_of;

impl Flows {
    /// Slots of IPv4 that were never used.
    pub(crate) fn memory(slots: u32) -> Self {
        let memory = memfd_create("flows", MFdFlags::empty()).unwrap();
        let bytes = slots as usize * size_of::<Flow4>();
        ftruncate(&memory, bytes.try_into().unwrap()).unwrap();
        Self::mapped(&memory, slots as usize, Family::V4).unwrap()
    }

    /// Writes a record as it is.
    pub(crate) fn put(&self, slot: u32, flow: &Flow4) {
        for (offset, word) in bytes_of(flow).chunks(8).enumerate() {
            let word = u64::from_ne_bytes(word.try_into().unwrap());
            assert!(
                self.words
                    .load()
                    .store(slot as usize * self.family.stride() + offset, word)
            );
        }
    }
}
