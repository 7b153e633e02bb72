//! Entry points.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "names of sections"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

// The hooks of the library are programs of the object.
#[cfg(target_arch = "bpf")]
use proxy_ebpf as _;

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
