//! Leaving the node by its routes, past the stack.

use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::{bpf_fib_lookup as FibLookup, bpf_redir_neigh as Neighbour};
use aya_ebpf::helpers::{bpf_check_mtu, bpf_fib_lookup, bpf_redirect_neigh};

use super::packet::{MARK_FROM_HOST, Packet};
use super::skb::{ETHERNET, Skb};
use super::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::maps::Family;
use proxy_common::counters::REWRITE_FAILED;

const FIB_SIZE: i32 = 64;
const NEIGHBOUR_SIZE: i32 = 20;
const _: () = assert!(size_of::<FibLookup>() == 64 && size_of::<Neighbour>() == 20);
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const FIB_OUTPUT: u32 = 1 << 1;
const FIB_SUCCESS: i64 = 0;
const FIB_NO_NEIGHBOUR: i64 = 7;
/// Each segment is checked, not the whole of a large packet.
const MTU_SEGMENTS: u64 = 1;

/// Sends the packet to its next hop. `NEXT` where the stack should answer: no route, too big, no hops left.
#[inline(always)]
pub fn route<F: Family>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let from_host = packet.marks & MARK_FROM_HOST != 0;
    if packet.hops <= 1 && !from_host {
        return NEXT;
    }
    // SAFETY: made of integers.
    let mut fib: FibLookup = unsafe { MaybeUninit::zeroed().assume_init() };
    fib.family = if F::IPV6 { AF_INET6 } else { AF_INET };
    fib.l4_protocol = packet.protocol;
    fib.ifindex = skb.ifindex();
    // SAFETY: the unions are sixteen bytes wide, as wide as the widest address.
    unsafe {
        (&raw mut fib.__bindgen_anon_3)
            .cast::<F::Address>()
            .write(packet.source);
        (&raw mut fib.__bindgen_anon_4)
            .cast::<F::Address>()
            .write(packet.destination);
    }
    let flags = if from_host { FIB_OUTPUT } else { 0 };
    // SAFETY: the helper reads and writes all of `fib`.
    let result =
        unsafe { bpf_fib_lookup(skb.raw().cast::<c_void>(), &raw mut fib, FIB_SIZE, flags) };
    if result != FIB_SUCCESS && result != FIB_NO_NEIGHBOUR {
        return NEXT;
    }
    let mut length = 0_u32;
    // SAFETY: the helper reads and writes `length`.
    let too_big = unsafe {
        bpf_check_mtu(
            skb.raw().cast::<c_void>(),
            fib.ifindex,
            &raw mut length,
            0,
            MTU_SEGMENTS,
        )
    };
    if too_big != 0 {
        return NEXT;
    }
    if !from_host {
        let verdict = age(skb, packet);
        if verdict != CONTINUE {
            return verdict;
        }
    }
    hand_over(&fib)
}

/// Redirects to the next hop that was found.
#[inline(always)]
fn hand_over(fib: &FibLookup) -> Verdict {
    // SAFETY: made of integers.
    let mut neighbour: Neighbour = unsafe { MaybeUninit::zeroed().assume_init() };
    neighbour.nh_family = u32::from(fib.family);
    // SAFETY: both unions hold sixteen bytes.
    unsafe {
        neighbour.__bindgen_anon_1.ipv6_nh = fib.__bindgen_anon_4.ipv6_dst;
    }
    // SAFETY: the helper reads all of `neighbour`.
    unsafe { bpf_redirect_neigh(fib.ifindex, &raw mut neighbour, NEIGHBOUR_SIZE, 0) as i32 }
}

/// One hop less.
#[inline(always)]
fn age<F: Family>(skb: Skb, packet: &Packet<F>) -> Verdict {
    let hops = packet.hops.wrapping_sub(1);
    let done = if F::IPV6 {
        skb.store(ETHERNET + 7, &hops)
    } else {
        let old = u16::from_ne_bytes([packet.hops, packet.carrier]);
        let new = u16::from_ne_bytes([hops, packet.carrier]);
        let change = u32::from(!old) + u32::from(new);
        skb.header_checksum(ETHERNET + 10, change) && skb.store(ETHERNET + 8, &hops)
    };
    if done {
        CONTINUE
    } else {
        dropped(REWRITE_FAILED)
    }
}
