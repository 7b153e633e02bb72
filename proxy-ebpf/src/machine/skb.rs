//! A packet buffer of the kernel at a `tc` hook, and the helpers that read and change it.
//!
//! Fields are read volatile: LLVM must not hoist `data` and `data_end` into callers as plain numbers.

use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{
    bpf_clone_redirect, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_peer,
    bpf_skb_change_head, bpf_skb_change_tail, bpf_skb_ecn_set_ce, bpf_skb_load_bytes,
    bpf_skb_load_bytes_relative, bpf_skb_set_tstamp, bpf_skb_store_bytes,
};

use proxy_common::endpoints::ENDPOINT_QUEUED;

use super::checksum::fold;
use super::frame::{Balance, Buffer, Checksum, Frame};
use super::verdict::Verdict;
use super::words::{copy, opaque};

/// `l4_csum_replace`: the change is one of the pseudo header.
const PSEUDO_HEADER: u64 = 1 << 4;
/// `l4_csum_replace`: UDP, where zero means no checksum.
const MANGLED_ZERO: u64 = 1 << 5;
/// `l4_csum_replace`: the change is one of IPv6 addresses (kernels since 6.16 ask for it).
const IPV6_CHANGE: u64 = 1 << 7;
/// `store_bytes`: a sum over the whole packet takes the change up.
const RECOMPUTE: u64 = 1 << 0;
const EINVAL: i64 = -22;
/// `load_bytes_relative`: to the network header (`BPF_HDR_START_NET`).
const NETWORK: u32 = 1;
/// `bpf_redirect`, `bpf_clone_redirect`: into the interface, as if it had received the packet.
pub const INGRESS: u64 = 1;
/// `set_tstamp`: a time of departure by `CLOCK_MONOTONIC` (`BPF_SKB_TSTAMP_DELIVERY_MONO`).
const DELIVERY_MONO: u32 = 1;
/// In `tc_index`, which is 0 unless someone says otherwise.
const DONE: u32 = 0x5765;

/// `pkt_type`: to this machine.
const PACKET_HOST: u32 = 0;

/// The buffer. `OWN`: its head is written directly, for which the kernel makes it the program's own before that runs, whatever
/// becomes of the packet (<https://elixir.bootlin.com/linux/v6.1/source/net/core/filter.c#L8637>).
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Skb<const OWN: bool = true>(*mut __sk_buff);

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
}

impl<const OWN: bool> Skb<OWN> {
    /// The context, for helpers and global functions.
    #[inline(always)]
    pub const fn raw(self) -> *mut __sk_buff {
        self.0
    }

    /// The same, written by helpers, which make its head the program's own when they must.
    #[inline(always)]
    pub const fn shared(self) -> Skb<false> {
        Skb(self.0)
    }

    /// One volatile load: LLVM passes no context to a function that does not use it.
    #[inline(always)]
    pub fn touch(self) {
        let _ = self.length();
    }

    fields! {
        /// The interface on which the packet came; 0 if the host's own stack made it.
        ingress_ifindex = ingress_ifindex;
        /// Index of the interface at whose hook the program runs, be it the end of a pod's queue.
        device = ifindex;
        /// Length of a segment's payload in a packet of several; 0 for a single one.
        segment = gso_size;
        /// Bytes on the wire at egress, with the headers of all segments that it stands for, as queues count
        /// (`qdisc_pkt_len_init` in <https://elixir.bootlin.com/linux/v6.1/source/net/core/dev.c>).
        wire_length = wire_len;
    }

    /// Says when the packet may leave, nanoseconds of `CLOCK_MONOTONIC`; not 0. For IP only.
    #[inline(always)]
    pub fn depart_at(self, time: u64) -> bool {
        // SAFETY: a helper on the context.
        unsafe { bpf_skb_set_tstamp(self.0, time, DELIVERY_MONO) == 0 }
    }

    /// Marks the packet as one that has met congestion, if its ends understand that (ECN).
    #[inline(always)]
    pub fn mark_congestion(self) -> bool {
        // SAFETY: a helper on the context.
        unsafe { bpf_skb_ecn_set_ce(self.0) == 1 }
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

    /// Reads into place, so many bytes behind the start of the network header, whatever header the link has.
    #[inline(always)]
    pub fn load_network<T: Copy>(self, offset: u32, to: &mut T) -> bool {
        let (to, size) = ((&raw mut *to).cast::<c_void>(), size_of::<T>() as u32);
        // SAFETY: the helper writes all of `to`.
        unsafe { bpf_skb_load_bytes_relative(self.0.cast(), offset, to, size, NETWORK) == 0 }
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
        // SAFETY: within the packet; this machine stores unaligned words.
        unsafe {
            match size_of::<T>() {
                1 => write_volatile(at.cast(), (&raw const *value).cast::<u8>().read()),
                2 => write_volatile(at.cast(), (&raw const *value).cast::<u16>().read()),
                _ => copy(&raw const *value, at),
            }
        }
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
