//! The Internet checksum (RFC 1071) and its changes (RFC 1624).

use aya_ebpf::helpers::bpf_csum_diff;

/// The sum that turns a checksum over `old` into one over `new`. Their size is a multiple of 4.
#[inline(always)]
pub fn difference<T: Copy>(old: &T, new: &T) -> u32 {
    let size = size_of::<T>() as u32;
    // SAFETY: both are `size` bytes.
    unsafe {
        bpf_csum_diff(
            (&raw const *old).cast_mut().cast(),
            size,
            (&raw const *new).cast_mut().cast(),
            size,
            0,
        )
        .cast_unsigned() as u32
    }
}

/// The sum over `bytes`, whose size is a multiple of 4, on top of `seed`.
#[inline(always)]
pub fn sum<T: Copy>(bytes: &T, seed: u32) -> u32 {
    // SAFETY: the old side is empty.
    unsafe {
        bpf_csum_diff(
            core::ptr::null_mut(),
            0,
            (&raw const *bytes).cast_mut().cast(),
            size_of::<T>() as u32,
            seed,
        )
        .cast_unsigned() as u32
    }
}

/// The checksum of a sum.
#[inline(always)]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16)
}
