//! Leaving the node by its routes, past the stack.

use core::ffi::c_void;

use aya_ebpf::bindings::bpf_redir_neigh as Neighbour;
use aya_ebpf::helpers::{bpf_check_mtu, bpf_redirect_neigh};
use proxy_common::counters::REWRITE_FAILED;

use super::next_hop::{self, NextHop};
use super::packet::{MARK_FROM_HOST, Packet};
use super::skb::{ETHERNET, Skb, fold};
use super::verdict::{CONTINUE, NEXT, Verdict, dropped};
use crate::maps::Family;

const NEIGHBOUR_SIZE: i32 = 20;
const _: () = assert!(size_of::<Neighbour>() == 20);
/// Each segment is checked, not the whole of a large packet.
const MTU_SEGMENTS: u64 = 1;

/// Sends the packet to its next hop. `NEXT` where the stack should answer: no route, too big, no hops left.
#[inline(always)]
pub fn route<F: Family>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let from_host = packet.marks & MARK_FROM_HOST != 0;
    if packet.hops <= 1 && !from_host {
        return NEXT;
    }
    let Some(hop) = next_hop::find(skb, packet) else {
        return NEXT;
    };
    if too_big(skb, hop.ifindex) {
        return NEXT;
    }
    if !from_host {
        let verdict = age(skb, packet);
        if verdict != CONTINUE {
            return verdict;
        }
    }
    hand_over(hop)
}

#[inline(always)]
fn too_big(skb: Skb, ifindex: u32) -> bool {
    let mut length = 0_u32;
    // SAFETY: the helper reads and writes `length`.
    unsafe {
        bpf_check_mtu(
            skb.raw().cast::<c_void>(),
            ifindex,
            &raw mut length,
            0,
            MTU_SEGMENTS,
        ) != 0
    }
}

/// Redirects to the next hop that was found.
#[inline(always)]
fn hand_over(hop: &NextHop) -> Verdict {
    let neighbour = (&raw const hop.neighbour).cast_mut();
    // SAFETY: the helper reads all of `neighbour`.
    unsafe { bpf_redirect_neigh(hop.ifindex, neighbour, NEIGHBOUR_SIZE, 0) as i32 }
}

/// The part of an IPv4 header that ages.
#[derive(Clone, Copy)]
#[repr(C)]
struct Age4 {
    hops: u8,
    protocol: u8,
    checksum: u16,
}

/// One hop less.
#[inline(always)]
fn age<F: Family>(skb: Skb, packet: &Packet<F>) -> Verdict {
    let hops = packet.hops.wrapping_sub(1);
    let done = if F::IPV6 {
        skb.store(ETHERNET + 7, &hops)
    } else {
        age4(skb, hops)
    };
    if done {
        CONTINUE
    } else {
        dropped(REWRITE_FAILED)
    }
}

/// One write for both: each helper looks anew whether it may write.
#[inline(always)]
fn age4(skb: Skb, hops: u8) -> bool {
    const AT: u32 = ETHERNET + 8;
    let Some(old) = skb.read::<Age4>(AT as usize) else {
        return false;
    };
    let word = |hops| u16::from_ne_bytes([hops, old.protocol]);
    let sum = u32::from(!old.checksum) + u32::from(!word(old.hops)) + u32::from(word(hops));
    let new = Age4 {
        hops,
        protocol: old.protocol,
        checksum: fold(sum),
    };
    skb.store(AT, &new)
}
