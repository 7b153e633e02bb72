//! The bytes of a frame.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::programs::XdpContext;

/// Actions.
pub const DROP: u32 = xdp_action::XDP_DROP;
pub const BACK: u32 = xdp_action::XDP_TX;
pub const FAILED: u32 = xdp_action::XDP_ABORTED;

/// The first `LENGTH` bytes, if there are as many.
#[inline(always)]
pub fn head<const LENGTH: usize>(context: &XdpContext) -> Option<*mut u8> {
    let start = context.data();
    (start + LENGTH <= context.data_end()).then_some(start as *mut u8)
}

/// Exchanges the hardware addresses at the start. `frame` has 12 bytes.
#[inline(always)]
pub fn turn_ends(frame: *mut u8) {
    let ends = frame.cast::<u16>();
    let mut half = 0;
    while half < 3 {
        // SAFETY: twelve bytes, as the caller says.
        unsafe {
            let to = ends.add(half).read_unaligned();
            let from = ends.add(half + 3).read_unaligned();
            ends.add(half).write_unaligned(from);
            ends.add(half + 3).write_unaligned(to);
        }
        half += 1;
    }
}
