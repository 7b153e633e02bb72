//! The ways out of the node that were used in this second, per CPU: a look-up in the kernel's tables costs as much
//! as all else that is done for a packet of a known flow. A changed route is followed a second later at most;
//! neighbours are not remembered here, but asked for by `bpf_redirect_neigh`.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{bpf_fib_lookup as FibLookup, bpf_redir_neigh as Neighbour};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::macros::btf_map;

use super::address::same;
use super::packet::Packet;
use super::skb::Skb;
use crate::maps::Family;

const FIB_SIZE: i32 = 64;
const _: () = assert!(size_of::<FibLookup>() == 64);
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const FIB_SUCCESS: i64 = 0;
const FIB_NO_NEIGHBOUR: i64 = 7;

/// Two to this power are remembered.
const BITS: u32 = 9;

/// What a way depends on.
#[repr(C)]
#[derive(Clone, Copy)]
struct Question {
    destination: [u32; 4],
    source: [u32; 4],
    ifindex: u32,
    /// Protocol.
    protocol: u32,
    /// Seconds since boot.
    now: u32,
}

/// A way out of the node.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NextHop {
    question: Question,
    /// The interface.
    pub ifindex: u32,
    /// The next hop.
    pub neighbour: Neighbour,
}

/// The ways, by a hash of source and destination. Private to one load of the programs.
#[btf_map]
pub static NEXT_HOPS: PerCpuArray<NextHop, { 1 << BITS }> = PerCpuArray::new();

/// The way of a packet; none if the stack should answer.
#[inline(always)]
pub fn find<F: Family>(skb: Skb, packet: &Packet<F>) -> Option<&'static NextHop> {
    let question = question(skb, packet);
    let hash = question.destination[3].wrapping_mul(0x9e37_79b1)
        ^ question.source[3].wrapping_mul(0x85eb_ca77);
    let hop = NEXT_HOPS.get_ptr_mut(hash >> (u32::BITS - BITS))?;
    // SAFETY: the map's own memory; each CPU has its own, and programs on one CPU run one after the other.
    let hop = unsafe { &mut *hop };
    if !same(&hop.question, &question) {
        // Not to be taken for an answer should the tables have none.
        hop.question.now = 0;
        look_up(skb, packet, hop)?;
        hop.question = question;
    }
    Some(hop)
}

#[inline(always)]
fn question<F: Family>(skb: Skb, packet: &Packet<F>) -> Question {
    Question {
        destination: F::as_ipv6(packet.destination),
        source: F::as_ipv6(packet.source),
        ifindex: skb.ifindex(),
        protocol: u32::from(packet.protocol),
        now: packet.now,
    }
}

/// Asks the kernel's tables, as if the packet had come by this interface, also if the host sent it:
/// `BPF_FIB_LOOKUP_OUTPUT` would find no route that leads elsewhere.
#[inline(always)]
fn look_up<F: Family>(skb: Skb, packet: &Packet<F>, hop: &mut NextHop) -> Option<()> {
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
    // SAFETY: the helper reads and writes all of `fib`.
    let result = unsafe { bpf_fib_lookup(skb.raw().cast(), &raw mut fib, FIB_SIZE, 0) };
    if result != FIB_SUCCESS && result != FIB_NO_NEIGHBOUR {
        return None;
    }
    hop.ifindex = fib.ifindex;
    hop.neighbour.nh_family = u32::from(fib.family);
    // SAFETY: both unions hold sixteen bytes.
    unsafe {
        hop.neighbour.__bindgen_anon_1.ipv6_nh = fib.__bindgen_anon_4.ipv6_dst;
    }
    Some(())
}
