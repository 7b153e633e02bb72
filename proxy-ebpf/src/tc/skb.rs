//! A packet buffer of the kernel, and the helpers that read and change it.
//!
//! Fields are read volatile: LLVM must not hoist `data` and `data_end` into callers as plain numbers.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{
    bpf_csum_diff, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_peer,
    bpf_skb_load_bytes, bpf_skb_store_bytes,
};

use super::verdict::Verdict;

/// Length of an Ethernet header.
pub const ETHERNET: u32 = 14;
/// `l4_csum_replace`: the change is one of the pseudo header.
pub const PSEUDO_HEADER: u64 = 1 << 4;
/// `l4_csum_replace`: UDP, where zero means no checksum.
pub const MANGLED_ZERO: u64 = 1 << 5;
/// `l4_csum_replace`: the change is one of IPv6 addresses (kernels since 6.16 ask for it).
const IPV6_CHANGE: u64 = 1 << 7;
const EINVAL: i64 = -22;
/// In `tc_index`, which is 0 unless someone says otherwise.
const DONE: u32 = 0x5765;

/// The buffer.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Skb(*mut __sk_buff);

impl Skb {
    /// The context of a program.
    #[inline(always)]
    pub const fn new(context: *mut __sk_buff) -> Self {
        Self(context)
    }

    /// The context, for helpers and global functions.
    #[inline(always)]
    pub const fn raw(self) -> *mut __sk_buff {
        self.0
    }

    /// Length of the packet, link layer included.
    #[inline(always)]
    pub fn length(self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).len) }
    }

    /// Ethernet type, network order.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).protocol) as u16 }
    }

    /// The interface at whose hook the program runs.
    #[inline(always)]
    pub fn ifindex(self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).ifindex) }
    }

    /// The interface on which the packet came; 0 if the host's own stack made it.
    #[inline(always)]
    pub fn ingress_ifindex(self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).ingress_ifindex) }
    }

    /// Whether the packet is done ([`Self::set_done`]).
    #[inline(always)]
    pub fn is_done(self) -> bool {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).tc_index) == DONE }
    }

    /// Says to the program of the uplink that the packet is done: what was a Service is its backend now, even if that
    /// were a Service in its turn.
    #[inline(always)]
    pub fn set_done(self) {
        // SAFETY: a field of the context, which programs of tc may write.
        unsafe { write_volatile(&raw mut (*self.0).tc_index, DONE) };
    }

    /// Reads at a fixed offset: from the linear part if it is there, else by helper.
    #[inline(always)]
    pub fn read<T: Copy>(self, offset: usize) -> Option<T> {
        // SAFETY: fields of the context.
        let (start, end) = unsafe {
            (
                read_volatile(&raw const (*self.0).data) as usize,
                read_volatile(&raw const (*self.0).data_end) as usize,
            )
        };
        if start + offset + size_of::<T>() <= end {
            // SAFETY: within the packet, as just checked; this machine loads unaligned words.
            return Some(unsafe { *((start + offset) as *const T) });
        }
        self.load(offset as u32)
    }

    /// Reads by helper, at any offset.
    #[inline(always)]
    pub fn load<T: Copy>(self, offset: u32) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes all of `value`, or fails.
        let result = unsafe {
            bpf_skb_load_bytes(
                self.0.cast(),
                offset,
                value.as_mut_ptr().cast::<c_void>(),
                size_of::<T>() as u32,
            )
        };
        // SAFETY: written, for the helper succeeded; T is made of integers.
        (result == 0).then(|| unsafe { value.assume_init() })
    }

    /// Writes; the checksums are the caller's care.
    #[inline(always)]
    pub fn store<T: Copy>(self, offset: u32, value: &T) -> bool {
        // SAFETY: the helper reads all of `value`.
        let result = unsafe {
            bpf_skb_store_bytes(
                self.0,
                offset,
                (&raw const *value).cast::<c_void>(),
                size_of::<T>() as u32,
                0,
            )
        };
        result == 0
    }

    /// Takes a change of the header into the IPv4 checksum at `offset`.
    #[inline(always)]
    pub fn header_checksum(self, offset: u32, difference: u32) -> bool {
        // SAFETY: a helper on the context.
        unsafe { bpf_l3_csum_replace(self.0, offset, 0, u64::from(difference), 0) == 0 }
    }

    /// Takes a change of addresses into the transport checksum at `offset`.
    #[inline(always)]
    pub fn address_checksum(self, offset: u32, difference: u32, ipv6: bool, flags: u64) -> bool {
        let flags = flags | PSEUDO_HEADER;
        if ipv6 {
            let result = self.transport(offset, 0, difference, flags | IPV6_CHANGE);
            if result != EINVAL {
                return result == 0;
            }
        }
        self.transport(offset, 0, difference, flags) == 0
    }

    /// Takes a change of a word of the transport's own bytes into the checksum at `offset`.
    /// `flags` holds the word's size.
    #[inline(always)]
    pub fn word_checksum(self, offset: u32, old: u32, new: u32, flags: u64) -> bool {
        self.transport(offset, old, new, flags) == 0
    }

    #[inline(always)]
    fn transport(self, offset: u32, old: u32, new: u32, flags: u64) -> i64 {
        // SAFETY: a helper on the context.
        unsafe { bpf_l4_csum_replace(self.0, offset, u64::from(old), u64::from(new), flags) }
    }
}

/// The sum that turns a checksum over `old` into one over `new`.
#[inline(always)]
pub fn difference<T: Copy>(old: &T, new: &T) -> u32 {
    let size = size_of::<T>() as u32;
    // SAFETY: both are `size` bytes, a multiple of 4.
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

/// The sum over `bytes`, on top of `seed`.
#[inline(always)]
pub fn sum<T: Copy>(bytes: &T, seed: u32) -> u32 {
    // SAFETY: a multiple of 4 bytes; the old side is empty.
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

/// Sends the packet out of an interface, or into it.
#[inline(always)]
pub fn redirect(ifindex: u32, flags: u64) -> Verdict {
    // SAFETY: a helper without pointers.
    unsafe { bpf_redirect(ifindex, flags) as i32 }
}

/// Puts the packet at the other end of a veth, in the pod.
#[inline(always)]
pub fn redirect_peer(ifindex: u32) -> Verdict {
    // SAFETY: a helper without pointers.
    unsafe { bpf_redirect_peer(ifindex, 0) as i32 }
}
