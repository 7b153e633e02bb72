//! A frame at an XDP hook, as the driver received it: no helper changes checksums here, so they are changed by own
//! arithmetic (RFC 1624). A frame may be in several pieces (`frags`); headers are in the first one.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{
    bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    bpf_xdp_store_bytes,
};

use super::checksum::fold;
use super::frame::{Balance, Buffer, Checksum, Frame};
use super::words::{copy, opaque, put};

/// The frame is gone.
pub const DROP: u32 = xdp_action::XDP_DROP;
/// The kernel makes a packet of the frame, and `tc` has it.
pub const UP: u32 = xdp_action::XDP_PASS;
/// The frame leaves by the link on which it came.
pub const BACK: u32 = xdp_action::XDP_TX;

/// The frame.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Xdp(*mut xdp_md);

impl Xdp {
    /// The context of a program.
    #[inline(always)]
    pub const fn new(context: *mut xdp_md) -> Self {
        Self(context)
    }

    /// The context, for global functions.
    #[inline(always)]
    pub const fn raw(self) -> *mut xdp_md {
        self.0
    }

    /// One volatile load: LLVM passes no context to a function that does not use it.
    #[inline(always)]
    pub fn touch(self) {
        let _ = self.ifindex();
    }

    /// First and last address of the first piece.
    #[inline(always)]
    fn bounds(self) -> (usize, usize) {
        // SAFETY: fields of the context; volatile, as `skb::Skb` says.
        unsafe {
            (
                read_volatile(&raw const (*self.0).data) as usize,
                read_volatile(&raw const (*self.0).data_end) as usize,
            )
        }
    }

    /// Whether the frame is in one piece.
    #[inline(always)]
    pub fn is_linear(self) -> bool {
        let (start, end) = self.bounds();
        self.length() as usize == end - start
    }

    /// Makes room for so many bytes before the first one; what stood at an offset is behind it by as much then. False: the driver
    /// has left none, and the frame is as it was.
    #[inline(always)]
    pub fn grow(self, bytes: u32) -> bool {
        // SAFETY: a helper on the context.
        unsafe { bpf_xdp_adjust_head(self.0, -bytes.cast_signed()) == 0 }
    }

    /// Reads into place, anywhere.
    #[inline(always)]
    pub fn load_to<T: Copy>(self, offset: u32, to: &mut T) -> bool {
        let (to, size) = ((&raw mut *to).cast::<c_void>(), size_of::<T>() as u32);
        // SAFETY: the helper writes all of `to`.
        unsafe { bpf_xdp_load_bytes(self.0, offset, to, size) == 0 }
    }

    /// Where bytes near the start are. `offset` is below 128.
    #[inline(always)]
    fn at_hand<T: Copy>(self, offset: u32) -> Option<*mut T> {
        let (start, end) = self.bounds();
        // Not computed a second time: the verifier knows bounds of the pointer that was compared.
        let at = opaque((start + (offset & 127) as usize) as u64) as usize;
        (at + size_of::<T>() <= end).then_some(at as *mut T)
    }

    /// Takes a sum, of changes near the start, into the checksum there.
    #[inline(always)]
    fn take_in(self, at: u32, may_be_absent: bool, change: u32) -> bool {
        let Some(old) = self.read::<u16>(at) else {
            return false;
        };
        if old == 0 && may_be_absent {
            return true;
        }
        let mut new = fold(u32::from(!old) + change);
        if new == 0 && may_be_absent {
            new = 0xffff;
        }
        self.put(at, &new)
    }
}

/// A sum of halves of words.
#[inline(always)]
const fn halves(sum: u32) -> u32 {
    (sum & 0xffff) + (sum >> 16)
}

impl Frame for Xdp {
    #[inline(always)]
    fn length(self) -> u32 {
        // SAFETY: a helper on the context.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: u32) -> Option<T> {
        // SAFETY: within the frame; this machine loads unaligned words.
        self.at_hand::<T>(offset).map(|at| unsafe { *at })
    }

    #[inline(always)]
    fn read_to<T: Copy>(self, offset: u32, to: &mut T) -> bool {
        let Some(at) = self.at_hand::<T>(offset) else {
            return false;
        };
        // SAFETY: within the frame; this machine loads unaligned words.
        unsafe { copy(at, &raw mut *to) };
        true
    }

    #[inline(always)]
    fn put<T: Copy>(self, offset: u32, value: &T) -> bool {
        let Some(at) = self.at_hand::<T>(offset) else {
            return false;
        };
        // SAFETY: within the frame.
        unsafe { put(value, at) };
        true
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: u32) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr().cast::<c_void>();
        // SAFETY: the helper writes all of `value`, or fails; T is made of integers.
        unsafe {
            let result = bpf_xdp_load_bytes(self.0, offset, to, size_of::<T>() as u32);
            (result == 0).then(|| value.assume_init())
        }
    }

    #[inline(always)]
    fn store<T: Copy>(self, offset: u32, value: &T) -> bool {
        let from = (&raw const *value).cast_mut().cast::<c_void>();
        // SAFETY: the helper reads all of `value`.
        unsafe { bpf_xdp_store_bytes(self.0, offset, from, size_of::<T>() as u32) == 0 }
    }

    /// The device's sum over the whole frame, if it made one, is no longer asked for.
    #[inline(always)]
    fn store_unbalanced<T: Copy>(self, offset: u32, value: &T) -> bool {
        self.store(offset, value)
    }

    #[inline(always)]
    fn header_checksum(self, offset: u32, difference: u32) -> bool {
        self.take_in(offset, false, halves(difference))
    }

    #[inline(always)]
    fn address_checksum(self, checksum: Checksum, difference: u32) -> Balance {
        if self.sum_checksum(checksum, difference) {
            Balance::Balanced
        } else {
            Balance::Failed
        }
    }

    #[inline(always)]
    fn tuple_checksum(self, checksum: Checksum, difference: u32, ports: [u32; 2]) -> Balance {
        let [from, to] = ports;
        let change = halves(difference) + halves(!from) + halves(to);
        if self.take_in(checksum.at, checksum.may_be_absent, change) {
            Balance::Balanced
        } else {
            Balance::Failed
        }
    }

    #[inline(always)]
    fn sum_checksum(self, checksum: Checksum, difference: u32) -> bool {
        self.take_in(checksum.at, checksum.may_be_absent, halves(difference))
    }

    #[inline(always)]
    fn word_checksum(self, checksum: Checksum, old: u32, new: u32) -> bool {
        let change = halves(!old) + halves(new);
        self.take_in(checksum.at, checksum.may_be_absent, change)
    }
}

impl Buffer for Xdp {
    const XDP: bool = true;

    #[inline(always)]
    fn context(self) -> *mut c_void {
        self.0.cast()
    }

    #[inline(always)]
    fn ifindex(self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).ingress_ifindex) }
    }
}

/// Sends the frame out by another link.
#[inline(always)]
pub fn redirect(ifindex: u32) -> u32 {
    // SAFETY: a helper without pointers.
    unsafe { bpf_redirect(ifindex, 0).cast_unsigned() as u32 }
}
