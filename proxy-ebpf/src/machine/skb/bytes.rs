//! A packet's bytes at a `tc` hook, and its checksums.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use aya_ebpf::helpers::{
    bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use proxy_common::endpoints::ENDPOINT_QUEUED;

use super::{RECOMPUTE, Skb};
use crate::machine::checksum::fold;
use crate::machine::frame::{Balance, Buffer, Checksum, Frame};
use crate::machine::words::{copy, opaque, put};

/// `l4_csum_replace`: the change is one of the pseudo header.
const PSEUDO_HEADER: u64 = 1 << 4;
/// `l4_csum_replace`: UDP, where zero means no checksum.
const MANGLED_ZERO: u64 = 1 << 5;
/// `l4_csum_replace`: the change is one of IPv6 addresses (kernels since 6.16 ask for it).
const IPV6_CHANGE: u64 = 1 << 7;
const EINVAL: i64 = -22;

impl<const OWN: bool> Skb<OWN> {
    /// Where the packet's bytes near its start are, if they are all at hand. `offset` is below 128.
    #[inline(always)]
    fn at_hand<T: Copy>(self, offset: u32) -> Option<*mut T> {
        // SAFETY: fields of the context.
        let (start, end) = unsafe {
            (
                read_volatile(&raw const (*self.0).data) as usize,
                read_volatile(&raw const (*self.0).data_end) as usize,
            )
        };
        // Not computed a second time: the verifier knows bounds of the pointer that was compared.
        let at = opaque((start + (offset & 127) as usize) as u64) as usize;
        (at + size_of::<T>() <= end).then_some(at as *mut T)
    }

    #[inline(always)]
    fn write<T: Copy>(self, offset: u32, value: &T, flags: u64) -> bool {
        // SAFETY: the helper reads all of `value`.
        let result = unsafe {
            bpf_skb_store_bytes(
                self.0,
                offset,
                (&raw const *value).cast::<c_void>(),
                size_of::<T>() as u32,
                flags,
            )
        };
        result == 0
    }

    #[inline(always)]
    fn transport_checksum(self, checksum: Checksum, change: [u32; 2], flags: u64) -> i64 {
        let flags = flags
            | if checksum.may_be_absent {
                MANGLED_ZERO
            } else {
                0
            };
        let [old, new] = change.map(u64::from);
        // SAFETY: a helper on the context.
        unsafe { bpf_l4_csum_replace(self.0, checksum.at, old, new, flags) }
    }
}

impl<const OWN: bool> Frame for Skb<OWN> {
    #[inline(always)]
    fn length(self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).len) }
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: u32) -> Option<T> {
        if let Some(at) = self.at_hand::<T>(offset) {
            // SAFETY: within the packet; this machine loads unaligned words.
            return Some(unsafe { *at });
        }
        self.load(offset)
    }

    #[inline(always)]
    fn read_to<T: Copy>(self, offset: u32, to: &mut T) -> bool {
        if let Some(at) = self.at_hand::<T>(offset) {
            // SAFETY: within the packet; this machine loads unaligned words.
            unsafe { copy(at, &raw mut *to) };
            return true;
        }
        let size = size_of::<T>() as u32;
        let to = (&raw mut *to).cast::<c_void>();
        // SAFETY: the helper writes all of `to`.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to, size) == 0 }
    }

    #[inline(always)]
    fn put<T: Copy>(self, offset: u32, value: &T) -> bool {
        if !OWN {
            return self.store(offset, value);
        }
        let Some(at) = self.at_hand::<T>(offset) else {
            return self.store(offset, value);
        };
        // SAFETY: within the packet.
        unsafe { put(value, at) };
        true
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: u32) -> Option<T> {
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

    #[inline(always)]
    fn store<T: Copy>(self, offset: u32, value: &T) -> bool {
        self.write(offset, value, 0)
    }

    #[inline(always)]
    fn store_unbalanced<T: Copy>(self, offset: u32, value: &T) -> bool {
        self.write(offset, value, RECOMPUTE)
    }

    #[inline(always)]
    fn header_checksum(self, offset: u32, difference: u32) -> bool {
        // SAFETY: a helper on the context.
        unsafe { bpf_l3_csum_replace(self.0, offset, 0, u64::from(difference), 0) == 0 }
    }

    #[inline(always)]
    fn address_checksum(self, checksum: Checksum, difference: u32) -> Balance {
        let change = [0, difference];
        let mut balance = Balance::Balanced;
        if checksum.ipv6 {
            let result = self.transport_checksum(checksum, change, PSEUDO_HEADER | IPV6_CHANGE);
            if result == 0 {
                return Balance::Balanced;
            }
            if result != EINVAL {
                return Balance::Failed;
            }
            // The flag is newer than this kernel, which takes the change out of a sum that the device has made
            // (<https://git.kernel.org/torvalds/c/ead7f9b8de65>).
            balance = Balance::Unbalanced;
        }
        if self.transport_checksum(checksum, change, PSEUDO_HEADER) == 0 {
            balance
        } else {
            Balance::Failed
        }
    }

    /// Ports do not concern a sum that the device has yet to finish, which is one of the addresses only. Whether it is one shows
    /// in what the kernel makes of their change: it is added to such a sum, and taken off a whole one
    /// (<https://elixir.bootlin.com/linux/v6.1/source/net/core/utils.c#L476>).
    #[inline(always)]
    fn tuple_checksum(self, checksum: Checksum, difference: u32, ports: [u32; 2]) -> Balance {
        let Some(old) = self.read::<u16>(checksum.at) else {
            return Balance::Failed;
        };
        if old == 0 && checksum.may_be_absent {
            return Balance::Balanced;
        }
        let balance = self.address_checksum(checksum, difference);
        let Some(new) = self.read::<u16>(checksum.at) else {
            return Balance::Failed;
        };
        let halves = (difference & 0xffff) + (difference >> 16);
        // Of addresses that sum up alike nothing shows.
        let shows = !matches!(fold(halves), 0 | 0xffff);
        if shows && new == !fold(u32::from(old) + halves) {
            return balance;
        }
        let is_whole = shows && new == fold(u32::from(!old) + halves);
        let [from, to] = ports;
        let done = if is_whole {
            let halves = (!from & 0xffff) + (!from >> 16) + (to & 0xffff) + (to >> 16);
            let mut sum = fold(u32::from(!new) + halves);
            if sum == 0 && checksum.may_be_absent {
                sum = 0xffff;
            }
            self.put(checksum.at, &sum)
        } else {
            self.word_checksum(checksum, from, to)
        };
        if done { balance } else { Balance::Failed }
    }

    #[inline(always)]
    fn sum_checksum(self, checksum: Checksum, difference: u32) -> bool {
        self.transport_checksum(checksum, [0, difference], 0) == 0
    }

    #[inline(always)]
    fn word_checksum(self, checksum: Checksum, old: u32, new: u32) -> bool {
        self.transport_checksum(checksum, [old, new], 4) == 0
    }
}

impl<const OWN: bool> Buffer for Skb<OWN> {
    const XDP: bool = false;

    #[inline(always)]
    fn context(self) -> *mut c_void {
        self.0.cast()
    }

    /// At the end of a pod's queue that of the pod's host side.
    #[inline(always)]
    fn ifindex(self) -> u32 {
        self.device() & !ENDPOINT_QUEUED
    }
}
