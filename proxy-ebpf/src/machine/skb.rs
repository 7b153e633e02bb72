//! A packet buffer of the kernel at a `tc` hook, and the helpers that read and change it.
//!
//! Fields are read volatile: LLVM must not hoist `data` and `data_end` into callers as plain numbers.

use core::ffi::c_void;
use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{
    bpf_clone_redirect, bpf_redirect, bpf_redirect_peer, bpf_skb_change_head, bpf_skb_change_tail,
    bpf_skb_ecn_set_ce, bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_skb_set_tstamp,
    bpf_skb_store_bytes,
};

use super::frame::{Buffer as _, Frame as _};
use super::verdict::Verdict;

mod bytes;

/// `store_bytes`: a sum over the whole packet takes the change up.
const RECOMPUTE: u64 = 1 << 0;
/// `load_bytes_relative`: to the network header (`BPF_HDR_START_NET`).
const NETWORK: u32 = 1;
/// `bpf_redirect`, `bpf_clone_redirect`: into the interface, as if it had received the packet.
pub const INGRESS: u64 = 1;
/// `set_tstamp`: a time of departure by `CLOCK_MONOTONIC` (`BPF_SKB_TSTAMP_DELIVERY_MONO`).
const DELIVERY_MONO: u32 = 1;
/// In `tc_index`, which is 0 unless someone says otherwise.
const DONE: u32 = 0x5765;
/// As [`DONE`], of a packet whose way the stack is yet to find.
const TURNED: u32 = 0x5766;

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

    /// Whether the packet is turned ([`Self::set_turned`]).
    #[inline(always)]
    pub fn is_turned(self) -> bool {
        // SAFETY: a field of the context.
        unsafe { read_volatile(&raw const (*self.0).tc_index) == TURNED }
    }

    /// Whether nobody turns the packet any more: it is done or turned.
    #[inline(always)]
    pub fn is_settled(self) -> bool {
        // SAFETY: a field of the context.
        let index = unsafe { read_volatile(&raw const (*self.0).tc_index) };
        index == DONE || index == TURNED
    }

    /// Says to the program of the device by which the packet leaves that nobody turns it once more, but for the tunnel, which
    /// is to be told where it leads. Its fragments have it too.
    #[inline(always)]
    pub fn set_turned(self) {
        // SAFETY: as above.
        unsafe { write_volatile(&raw mut (*self.0).tc_index, TURNED) };
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
