//! The nodes that have relayed packets to this one: `RELAYS`, whose numbers stand in flows.

use proxy_common::tunnel::Relay;

use crate::machine::words::same;
use crate::maps::RELAYS;

const NO_EXIST: u64 = 1;
/// Numbers that are tried for an address, should another one have its own.
const TRIES: u32 = 4;

/// The number of a node, which is not 0; none if there is no room. The address stands on the stack.
#[inline(always)]
pub fn number(of: &Relay) -> Option<u32> {
    let mut hash = 0_u32;
    for word in of {
        hash = (hash ^ *word).wrapping_mul(0x9e37_79b1).rotate_left(13);
    }
    for tried in 0..TRIES {
        let number = hash.wrapping_add(2 * tried) | 1;
        // SAFETY: four words, which never change under a number.
        if unsafe { RELAYS.get(number) }.is_some_and(|known| same(known, of)) {
            return Some(number);
        }
        if RELAYS.insert(number, *of, NO_EXIST).is_ok() {
            return Some(number);
        }
    }
    None
}

/// The node with a number.
#[inline(always)]
pub fn of_number(number: u32) -> Option<&'static Relay> {
    // SAFETY: as above.
    unsafe { RELAYS.get(number) }
}
