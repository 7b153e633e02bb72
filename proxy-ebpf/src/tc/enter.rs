//! What every program at an interface begins with.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use proxy_common::counters::INVALID_PACKET;
use proxy_common::time::seconds;

use super::packet::Packet;
use super::skb::Skb;
use super::verdict::{CONTINUE, NEXT, Verdict, dropped};
use super::wire::Wire;
use super::{ETH_IP, ETH_IPV6, scratch};

/// One of the two, by the packet's family; ARP and whatever else is the stack's affair.
#[inline(always)]
pub fn by_family(
    skb: Skb,
    v4: impl FnOnce(Skb) -> Verdict,
    v6: impl FnOnce(Skb) -> Verdict,
) -> Verdict {
    match skb.protocol() {
        ETH_IP => v4(skb),
        ETH_IPV6 => v6(skb),
        _ => NEXT,
    }
}

/// Describes the packet in hand; else what becomes of it.
#[inline(always)]
pub fn describe<F: Wire>(skb: Skb, marks: u8) -> Result<&'static mut Packet<F>, Verdict> {
    let Some(packet) = scratch::packet::<F>(marks) else {
        return Err(dropped(INVALID_PACKET));
    };
    // SAFETY: a helper without arguments.
    packet.now = seconds(unsafe { bpf_ktime_get_coarse_ns() });
    match F::read(skb, packet) {
        CONTINUE => Ok(packet),
        verdict => Err(verdict),
    }
}
