//! What becomes of a packet: an action of the kernel, or the reason for which it is dropped.
//!
//! One number, because functions that the verifier checks by themselves return nothing wider.

use proxy_common::counters::Counter;

use super::log;
use super::skb::Skb;
use crate::maps::DROPS;

/// An action of `tc`, [`CONTINUE`], or a drop reason from [`dropped`].
pub type Verdict = i32;

/// The next program, then the stack, have the packet (`TCX_NEXT`, `TC_ACT_UNSPEC`).
pub const NEXT: Verdict = -1;
/// The stack has the packet; no other program is asked (`TCX_PASS`, `TC_ACT_OK`).
const PASS: Verdict = 0;
/// The packet is gone (`TC_ACT_SHOT`).
const SHOT: Verdict = 2;
/// Nothing is decided yet.
pub const CONTINUE: Verdict = 0x80;
/// Drop reasons stand above this.
const DROPPED: Verdict = 0x100;

/// The packet is dropped for this reason (`proxy_common::counters`).
#[inline(always)]
pub const fn dropped(reason: u32) -> Verdict {
    DROPPED | reason.cast_signed()
}

/// Counts a packet that is not let through.
#[inline(always)]
pub fn count(skb: Skb, reason: u32) {
    if let Some(counter) = DROPS.get_ptr_mut(reason) {
        let counter: *mut Counter = counter;
        // SAFETY: the map's own memory; each CPU has its own counter.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += u64::from(skb.length());
        }
    }
}

/// The kernel's action for a verdict; drops are counted.
#[inline(always)]
pub fn finish(skb: Skb, verdict: Verdict) -> i32 {
    if verdict >= DROPPED {
        let reason = (verdict & 0xff).cast_unsigned();
        count(skb, reason);
        log::dropped(skb, reason);
        return SHOT;
    }
    if verdict == CONTINUE { NEXT } else { verdict }
}

/// As [`finish`], at the hooks of pods' interfaces: whoever comes first there has the last word. The same program
/// hangs at them twice, as a TCX link and as a filter of clsact, and the kernel asks the filter when the link says
/// `NEXT` (<https://elixir.bootlin.com/linux/v6.8/source/net/core/dev.c#L4042>): the packet would be tracked twice.
#[inline(always)]
pub fn finish_at_pod(skb: Skb, verdict: Verdict) -> i32 {
    match finish(skb, verdict) {
        NEXT => PASS,
        action => action,
    }
}
