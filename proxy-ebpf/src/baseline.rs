//! What the benches measure Weir's XDP program beside, and what runs each of them a million times over: no part of Weir.
//!
//! `again` puts a frame back as it was, gives it other ends, and calls a program. So each call costs the same on top, whichever
//! program it is.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unsafe_code,
        clippy::multiple_unsafe_ops_per_block,
        clippy::cast_ptr_alignment,
        reason = "the kernel's pointers and maps; this machine reads and writes unaligned words"
    )
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::needless_pass_by_value,
        clippy::inline_always,
        unreachable_pub,
        reason = "the form of programs for the kernel"
    )
)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod baseline {
    pub mod again;
    pub mod balancer;
    pub mod bare;
    pub mod frame;
    pub mod wire;
}

/// What the kernel requires of programs that call its GPL helpers.
#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(all(target_arch = "bpf", not(test)))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
