//! A packet buffer of the kernel at a `tc` hook, and the helpers that read and change it.
//!
//! Fields are read volatile: LLVM must not hoist `data` and `data_end` into callers as plain numbers.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{
    bpf_clone_redirect, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_peer,
    bpf_skb_change_head, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
};

use super::frame::{Balance, Checksum, Frame};
use super::verdict::Verdict;
use super::words::opaque;

/// `l4_csum_replace`: the change is one of the pseudo header.
const PSEUDO_HEADER: u64 = 1 << 4;
/// `l4_csum_replace`: UDP, where zero means no checksum.
const MANGLED_ZERO: u64 = 1 << 5;
/// `l4_csum_replace`: the change is one of IPv6 addresses (kernels since 6.16 ask for it).
const IPV6_CHANGE: u64 = 1 << 7;
/// `store_bytes`: a sum over the whole packet takes the change up.
const RECOMPUTE: u64 = 1 << 0;
const EINVAL: i64 = -22;
/// `bpf_redirect`, `bpf_clone_redirect`: into the interface, as if it had received the packet.
pub const INGRESS: u64 = 1;
/// In `tc_index`, which is 0 unless someone says otherwise.
const DONE: u32 = 0x5765;

/// `pkt_type`: to this machine.
const PACKET_HOST: u32 = 0;

/// The buffer.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Skb(*mut __sk_buff);

/// Reads fields of the context.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $field:ident;)+) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name(self) -> u32 {
            // SAFETY: a field of the context.
            unsafe { read_volatile(&raw const (*self.0).$field) }
        }
    )+};
}

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

    /// One volatile load: LLVM passes no context to a function that does not use it.
    #[inline(always)]
    pub fn touch(self) {
        let _ = self.length();
    }

    fields! {
        /// The interface at whose hook the program runs.
        ifindex = ifindex;
        /// The interface on which the packet came; 0 if the host's own stack made it.
        ingress_ifindex = ingress_ifindex;
        /// Length of a segment's payload in a packet of several; 0 for a single one.
        segment = gso_size;
    }

    /// Ethernet type, network order.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).protocol) as u16 }
    }

    /// Whether the frame bears a VLAN tag, if only one of priority.
    #[inline(always)]
    pub fn is_tagged(self) -> bool {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).vlan_present) != 0 }
    }

    /// Whether the frame is for this machine and for the link itself: its address, and no VLAN.
    #[inline(always)]
    pub fn is_for_us(self) -> bool {
        // SAFETY: fields of the context.
        let (kind, tag) = unsafe {
            (
                read_volatile(&raw const (*self.0).pkt_type),
                read_volatile(&raw const (*self.0).vlan_tci),
            )
        };
        kind == PACKET_HOST && !(self.is_tagged() && tag & 0xfff != 0)
    }

    /// Whether the packet is done ([`Self::set_done`]).
    #[inline(always)]
    pub fn is_done(self) -> bool {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).tc_index) == DONE }
    }

    /// Says to the program of the link by which the packet leaves that it is done: what was a Service is its backend
    /// now, even if that were a Service in its turn.
    #[inline(always)]
    pub fn set_done(self) {
        // SAFETY: a field of the context, which programs of tc may write.
        unsafe { write_volatile(&raw mut (*self.0).tc_index, DONE) };
    }

    /// Takes back what another machine's programs may have said: between namespaces of one kernel it comes along.
    #[inline(always)]
    pub fn set_begun(self) {
        // SAFETY: as above.
        unsafe { write_volatile(&raw mut (*self.0).tc_index, 0) };
    }

    /// Gives a packet of a link without one an Ethernet header, all zero but for its type.
    #[inline(always)]
    pub fn add_ethernet(self, kind: u16) -> bool {
        // SAFETY: a helper on the context.
        let made = unsafe { bpf_skb_change_head(self.0, super::frame::ETHERNET, 0) } == 0;
        made && self.store(12, &kind)
    }

    /// Copies the packet's first bytes out.
    ///
    /// # Safety
    /// `to` has room for so many.
    #[inline(always)]
    pub unsafe fn copy_out(self, to: *mut u8, length: u32) -> bool {
        // SAFETY: the caller's promise.
        unsafe { bpf_skb_load_bytes(self.0.cast(), 0, to.cast::<c_void>(), length) == 0 }
    }

    /// Makes it a packet of these bytes.
    ///
    /// # Safety
    /// `from` has so many.
    #[inline(always)]
    pub unsafe fn become_copy(self, from: *const u8, length: u32) -> bool {
        // SAFETY: helpers on the context; the caller's promise.
        unsafe {
            bpf_skb_change_tail(self.0, length, 0) == 0
                && bpf_skb_store_bytes(self.0, 0, from.cast::<c_void>(), length, RECOMPUTE) == 0
        }
    }

    /// Lets its interface receive a copy of it, once this program is done.
    #[inline(always)]
    pub fn receive_copy(self) -> bool {
        // SAFETY: a helper on the context.
        unsafe { bpf_clone_redirect(self.0, self.ifindex(), INGRESS) == 0 }
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

impl Frame for Skb {
    #[inline(always)]
    fn length(self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).len) }
    }

    #[inline(always)]
    fn read<T: Copy>(self, offset: u32) -> Option<T> {
        // SAFETY: fields of the context.
        let (start, end) = unsafe {
            (
                read_volatile(&raw const (*self.0).data) as usize,
                read_volatile(&raw const (*self.0).data_end) as usize,
            )
        };
        // Not computed a second time: the verifier knows bounds of the pointer that was compared.
        let at = opaque((start + (offset & 63) as usize) as u64) as usize;
        if at + size_of::<T>() <= end {
            // SAFETY: within the packet, as just checked; this machine loads unaligned words.
            return Some(unsafe { *(at as *const T) });
        }
        self.load(offset)
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

    #[inline(always)]
    fn sum_checksum(self, checksum: Checksum, difference: u32) -> bool {
        self.transport_checksum(checksum, [0, difference], 0) == 0
    }

    #[inline(always)]
    fn word_checksum(self, checksum: Checksum, old: u32, new: u32) -> bool {
        self.transport_checksum(checksum, [old, new], 4) == 0
    }
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
