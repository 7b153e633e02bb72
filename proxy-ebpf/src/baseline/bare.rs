//! As little as an XDP program can do.

use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use super::frame::{BACK, DROP, FAILED, head, turn_ends};

/// Sends a frame back to where it came from.
#[xdp(frags)]
pub fn bare_back(context: XdpContext) -> u32 {
    match head::<12>(&context) {
        Some(frame) => {
            turn_ends(frame);
            BACK
        }
        None => FAILED,
    }
}

/// Drops it.
#[xdp(frags)]
pub fn bare_drop(_context: XdpContext) -> u32 {
    DROP
}
