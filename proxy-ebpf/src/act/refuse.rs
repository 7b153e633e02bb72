//! Reject: telling a sender what became of its packet.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;
use proxy_common::counters::Counter;

use super::course::hook;
use super::host::by_loopback;
use crate::machine::frame::{Buffer as _, Frame};
use crate::machine::skb::INGRESS;
use crate::machine::skb::{Skb, redirect, redirect_peer};
use crate::machine::verdict::{SHOT, Verdict, dropped};
use crate::maps::{DROPS, Family};
use crate::packet::answer::{ECHO, REFUSED, Speaker, answer};
use crate::packet::description::Packet;

/// Answers that a CPU gives to outsiders in a second, as the kernel limits its own (`net.ipv4.icmp_msgs_per_sec`).
const LIMIT: u32 = 1000;

/// What a CPU has answered.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Answered {
    second: u32,
    count: u32,
}

/// The count. Private to one load of the programs.
#[btf_map]
pub static ANSWERED: PerCpuArray<Answered, 1> = PerCpuArray::new();

/// Counts a packet that is not let through.
#[inline(always)]
pub fn count(frame: impl Frame, reason: u32) {
    if let Some(counter) = DROPS.get_ptr_mut(reason) {
        let counter: *mut Counter = counter;
        // SAFETY: the map's own memory; each CPU has its own counter.
        unsafe {
            (*counter).packets += 1;
            (*counter).bytes += u64::from(frame.length());
        }
    }
}

/// Answers a packet that is dropped for a reason: `kind` and `mtu` as `packet::answer` has them. The packet is as it came.
#[inline(always)]
pub fn tell<F: Family>(
    skb: Skb,
    packet: &mut Packet<F>,
    speaker: &Speaker<F>,
    [at, reason, kind, mtu]: [u32; 4],
) -> Verdict {
    // The client of another node is told nothing: it will ask again, and who serves will be known.
    if at == hook::RELAYED || at == hook::FROM_NET && !may_answer(packet.now) {
        return dropped(reason);
    }
    if !answer(skb, packet, speaker, kind, mtu) {
        return dropped(reason);
    }
    count(skb, reason);
    if hook::is_egress(at) && kind != REFUSED {
        // In the node's own name: by any other interface it would be a forgery.
        return by_loopback(skb, packet);
    }
    send_back(skb, at)
}

/// Answers an echo request in place of whom it is for. More than outsiders may ask is dropped, as the kernel does
/// (`net.ipv4.icmp_msgs_per_sec`).
#[inline(always)]
pub fn answer_ping<F: Family>(
    skb: Skb,
    packet: &mut Packet<F>,
    speaker: &Speaker<F>,
    at: u32,
) -> Verdict {
    let may = !hook::is_from_others(at) || may_answer(packet.now);
    if !may || !answer(skb, packet, speaker, ECHO, 0) {
        return SHOT;
    }
    send_back(skb, at)
}

/// Where the packet came from.
#[inline(always)]
fn send_back(skb: Skb, at: u32) -> Verdict {
    match at {
        hook::FROM_POD => redirect_peer(skb.ifindex()),
        hook::FROM_NET => redirect(skb.ifindex(), 0),
        _ => redirect(skb.ifindex(), INGRESS),
    }
}

#[inline(always)]
fn may_answer(now: u32) -> bool {
    let Some(answered) = ANSWERED.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: the map's own memory; each CPU has its own.
    unsafe {
        if read_volatile(&raw const (*answered).second) != now {
            write_volatile(&raw mut (*answered).second, now);
            write_volatile(&raw mut (*answered).count, 0);
        }
        let count = read_volatile(&raw const (*answered).count);
        write_volatile(&raw mut (*answered).count, count.saturating_add(1));
        count < LIMIT
    }
}
