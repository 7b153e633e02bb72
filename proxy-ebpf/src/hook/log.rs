//! Telling of dropped packets, for debugging (`aya-log`). Off unless the agent loads the programs with a level: the
//! verifier then removes all of this.

use core::slice::from_raw_parts;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::debug;
use proxy_common::address::{ICMP, ICMPV6, SCTP, TCP, UDP};
use proxy_common::dropped::Dropped;

use crate::machine::frame::{Buffer, ETH_IP, ETH_IPV6, ETHERNET, Frame as _};
use crate::machine::scratch;
use crate::machine::skb::Skb;
use crate::machine::words::clear;
use crate::machine::xdp::Xdp;

/// Offset of the Ethernet type.
const TYPE: u32 = 12;
/// The bits of IPv4's fragment field that are an offset.
const FRAGMENT: u16 = 0x1fff;
/// Length of an IPv6 header.
const HEADER6: u32 = 40;

/// Tells that a packet was dropped.
#[inline(always)]
pub fn dropped(skb: Skb, reason: u32) {
    log_dropped(skb.raw(), reason);
}

/// The same of a frame at a hook of XDP.
#[inline(always)]
pub fn frame_dropped(xdp: Xdp, reason: u32) {
    log_frame_dropped(xdp.raw(), reason);
}

/// A function of its own: the macros want more stack than the programs have left.
#[unsafe(no_mangle)]
extern "C" fn log_dropped(skb: *mut __sk_buff, reason: u32) -> i32 {
    let skb = Skb::new(skb);
    tell(&TcContext::new(skb.raw()), skb, skb.protocol(), reason);
    0
}

/// As [`log_dropped`].
#[unsafe(no_mangle)]
extern "C" fn log_frame_dropped(xdp: *mut xdp_md, reason: u32) -> i32 {
    let xdp = Xdp::new(xdp);
    let kind = xdp.read::<u16>(TYPE).unwrap_or_default();
    tell(&XdpContext::new(xdp.raw()), xdp, kind, reason);
    0
}

/// A packet's bytes from its network header on.
trait Network: Buffer {
    /// Reads into place; false, if the packet ends before.
    fn network_to<T: Copy>(self, offset: u32, to: &mut T) -> bool;
}

impl Network for Skb {
    #[inline(always)]
    fn network_to<T: Copy>(self, offset: u32, to: &mut T) -> bool {
        self.load_network(offset, to)
    }
}

impl Network for Xdp {
    #[inline(always)]
    fn network_to<T: Copy>(self, offset: u32, to: &mut T) -> bool {
        self.load_to(ETHERNET + offset, to)
    }
}

/// Says it as one row of bytes, which takes the least stack. They stand in the program's room: it is done with that.
#[inline(always)]
fn tell<C: EbpfContext>(context: &C, frame: impl Network, kind: u16, reason: u32) {
    let Some(drop) = scratch::room::<Dropped>() else {
        return;
    };
    clear(drop);
    drop.reason = reason;
    drop.ifindex = frame.ifindex();
    drop.length = frame.length();
    drop.ethertype = kind;
    match kind {
        ETH_IP => describe4(frame, drop),
        ETH_IPV6 => describe6(frame, drop),
        _ => {}
    }
    // SAFETY: made of integers, without padding.
    let bytes = unsafe { from_raw_parts((&raw const *drop).cast::<u8>(), Dropped::SIZE) };
    debug!(context, "{:x}", bytes);
}

#[inline(always)]
fn describe4(frame: impl Network, drop: &mut Dropped) {
    let mut version = [0_u8; 2];
    let mut fragment = 0_u16;
    let mut protocol = [0_u8; 2];
    let known = frame.network_to(0, &mut version)
        && frame.network_to(6, &mut fragment)
        && frame.network_to(8, &mut protocol)
        && frame.network_to(12, first_word(&mut drop.source))
        && frame.network_to(16, first_word(&mut drop.destination));
    drop.protocol = protocol[1];
    if known && u16::from_be(fragment) & FRAGMENT == 0 {
        describe_transport(frame, u32::from(version[0] & 15) * 4, drop);
    }
}

#[inline(always)]
fn describe6(frame: impl Network, drop: &mut Dropped) {
    let mut next = [0_u8; 2];
    let known = frame.network_to(6, &mut next)
        && frame.network_to(8, &mut drop.source)
        && frame.network_to(24, &mut drop.destination);
    drop.protocol = next[0];
    if known {
        describe_transport(frame, HEADER6, drop);
    }
}

#[inline(always)]
fn describe_transport(frame: impl Network, offset: u32, drop: &mut Dropped) {
    if matches!(drop.protocol, TCP | UDP | SCTP | ICMP | ICMPV6) {
        drop.begins = u8::from(frame.network_to(offset, &mut drop.first));
    }
}

/// Where an IPv4 address stands.
#[inline(always)]
fn first_word(address: &mut [u8; 16]) -> &mut [u8; 4] {
    // SAFETY: its beginning.
    unsafe { &mut *(&raw mut *address).cast() }
}
