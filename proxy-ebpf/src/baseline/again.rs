//! The same frame again, and again.

use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_xdp_adjust_head};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;

use super::frame::{FAILED, head};

/// Length of every frame, in bytes and in words.
const LENGTH: usize = 96;
const WORDS: usize = LENGTH / 4;
/// Source, destination and ports of a flow, as they stand in a frame of IPv6; of one of IPv4, the first three words.
const ENDS: usize = 9;
/// As many flows at most.
const FLOWS: u32 = 1 << 14;

/// What of the word of ports is another one.
const PORTS: u32 = 0x3fff << 16;

/// What is sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plan {
    /// The frame.
    pub frame: [u32; WORDS],
    /// 0: always the first flow. Else one less than a power of two: any of so many flows.
    pub mask: u32,
    /// Which word of the ends is another one in each frame, and the source port with it; `ENDS`: none.
    pub counts: u32,
    /// 1 if the frame is of IPv6.
    pub ipv6: u32,
}

#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
#[map]
static FLOW_ENDS: Array<[u32; ENDS]> = Array::with_max_entries(FLOWS, 0);
#[map]
static COUNT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
#[map]
static SUBJECT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The program.
#[xdp(frags)]
pub fn again(context: XdpContext) -> u32 {
    // What the last call put in front goes off.
    let more = (context.data_end() - context.data()).cast_signed() - LENGTH.cast_signed();
    // SAFETY: a helper on the context.
    let fits = unsafe { bpf_xdp_adjust_head(context.ctx, more as i32) } == 0;
    if fits && write(&context).is_some() {
        // SAFETY: a helper on the context; it comes back only if there is no program.
        unsafe { SUBJECT.tail_call(&context, 0) };
    }
    FAILED
}

#[inline(always)]
fn write(context: &XdpContext) -> Option<()> {
    let plan = PLAN.get(0)?;
    let frame = head::<LENGTH>(context)?.cast::<u32>();
    let mut word = 0;
    while word < WORDS {
        // SAFETY: as many as the frame has.
        unsafe { frame.add(word).write_volatile(plan.frame[word]) };
        word += 1;
    }
    let flow = if plan.mask == 0 {
        0
    } else {
        // SAFETY: a helper without pointers.
        let random = unsafe { bpf_get_prandom_u32() };
        random & plan.mask
    };
    let number = if plan.counts < ENDS as u32 {
        next()?
    } else {
        0
    };
    let ends = FLOW_ENDS.get(flow)?;
    let (at, words) = if plan.ipv6 == 0 { (26, 3) } else { (22, ENDS) };
    let to = head::<LENGTH>(context)?;
    let mut word = 0;
    while word < words && word < ENDS {
        let mut value = ends[word];
        if word as u32 == plan.counts {
            value ^= number.to_be();
        }
        if word == words - 1 {
            // The source port.
            value ^= (number << 16 & PORTS).to_be();
        }
        // SAFETY: within the frame.
        unsafe { to.add(at + 4 * word).cast::<u32>().write_volatile(value) };
        word += 1;
    }
    Some(())
}

/// 22 bits that are others each time.
#[inline(always)]
fn next() -> Option<u32> {
    let count = COUNT.get_ptr_mut(0)?;
    // SAFETY: the map's own memory; each CPU has its own.
    unsafe {
        *count += 1;
        Some(*count & 0x3f_ffff)
    }
}
