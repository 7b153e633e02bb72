//! Keys of the flow index, made in place: a copy more is more stack than the programs have left.

use core::ptr::{read_volatile, write_volatile};

use proxy_common::conntrack::{FlowKey, Tuple};

use crate::machine::words::copy;

/// Writes the key of a direction, from what packets of the other one are turned into.
///
/// # Safety
/// `other` may be read and `key` written; both are aligned to words.
#[inline(always)]
pub(super) unsafe fn write<A: Copy>(other: *const Tuple<A>, protocol: u8, key: *mut FlowKey<A>) {
    // SAFETY: the caller's; all of the key is written.
    unsafe {
        let tuple = &raw mut (*key).tuple;
        copy(&raw const (*other).destination, &raw mut (*tuple).source);
        copy(&raw const (*other).source, &raw mut (*tuple).destination);
        let (source, destination) = (
            read_volatile(&raw const (*other).source_port),
            read_volatile(&raw const (*other).destination_port),
        );
        write_volatile(&raw mut (*tuple).source_port, destination);
        write_volatile(&raw mut (*tuple).destination_port, source);
        write_volatile(&raw mut (*key).protocol, u32::from(protocol));
    }
}
