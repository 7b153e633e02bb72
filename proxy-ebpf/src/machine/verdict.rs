//! What becomes of a packet: an action of the kernel, or the reason for which it is dropped.
//!
//! One number, because functions that the verifier checks by themselves return nothing wider.

/// An action of `tc`, [`CONTINUE`], or a drop reason from [`dropped`].
pub type Verdict = i32;

/// The next program, then the stack, have the packet (`TCX_NEXT`, `TC_ACT_UNSPEC`).
pub const NEXT: Verdict = -1;
/// The stack has the packet; no other program is asked (`TCX_PASS`, `TC_ACT_OK`).
pub const PASS: Verdict = 0;
/// The packet is gone (`TC_ACT_SHOT`).
pub const SHOT: Verdict = 2;
/// Nothing is decided yet.
pub const CONTINUE: Verdict = 0x80;
/// The packet is an echo request that is answered for a Service.
pub const ECHO: Verdict = 0x81;
/// Drop reasons stand above this.
const DROPPED: Verdict = 0x100;

/// The packet is dropped for this reason (`proxy_common::counters`).
#[inline(always)]
pub const fn dropped(reason: u32) -> Verdict {
    DROPPED | reason.cast_signed()
}

/// The reason for which the packet is dropped.
#[inline(always)]
pub const fn reason(verdict: Verdict) -> Option<u32> {
    if verdict >= DROPPED {
        Some((verdict & 0xff).cast_unsigned())
    } else {
        None
    }
}
