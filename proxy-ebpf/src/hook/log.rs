//! Telling of dropped packets, and of a sample of those that XDP sends, for debugging (`aya-log`). Off unless the agent loads the
//! programs with a level: the verifier then removes all of this.

use core::slice::from_raw_parts;

use aya_ebpf::Global;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::{debug, info};
use proxy_common::address::{ICMP, ICMPV6, SCTP, TCP, UDP};
use proxy_common::conntrack::Tuple;
use proxy_common::counters::{XDP_ACROSS, XDP_BACK};
use proxy_common::told::Told;

use crate::machine::frame::{Buffer, ETH_IP, ETH_IPV6, ETHERNET, Frame as _};
use crate::machine::scratch;
use crate::machine::skb::Skb;
use crate::machine::words::clear;
use crate::machine::xdp::{BACK, Xdp};
use crate::maps::Family;

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
    if let Some(told) = scratch::room::<Told>() {
        clear(told);
        describe(skb, skb.protocol(), reason, told);
        // SAFETY: made of integers, without padding.
        let bytes = unsafe { bytes_of(told) };
        debug!(&TcContext::new(skb.raw()), "{:x}", bytes);
    }
    0
}

/// As [`log_dropped`].
#[unsafe(no_mangle)]
extern "C" fn log_frame_dropped(xdp: *mut xdp_md, reason: u32) -> i32 {
    let xdp = Xdp::new(xdp);
    if let Some(told) = scratch::room::<Told>() {
        clear(told);
        describe(xdp, kind_of(xdp), reason, told);
        // SAFETY: made of integers, without padding.
        let bytes = unsafe { bytes_of(told) };
        debug!(&XdpContext::new(xdp.raw()), "{:x}", bytes);
    }
    0
}

#[inline(always)]
fn kind_of(xdp: Xdp) -> u16 {
    xdp.read::<u16>(TYPE).unwrap_or_default()
}

/// One of so many frames that XDP sends is told of, chosen at random; 0: none, and the verifier removes the code.
#[unsafe(no_mangle)]
pub static XDP_SAMPLE: Global<u32> = Global::new(0);

/// Notes how a packet came, in case that it is told of.
#[inline(always)]
pub fn note_came<F: Family>(tuple: &Tuple<F::Address>, told: &mut Told) {
    if XDP_SAMPLE.load() == 0 {
        return;
    }
    clear(told);
    // SAFETY: an address has 4 or 16 bytes.
    unsafe {
        (&raw mut told.came_from)
            .cast::<F::Address>()
            .write_unaligned(tuple.source);
        (&raw mut told.came_to)
            .cast::<F::Address>()
            .write_unaligned(tuple.destination);
    }
    let [a, b] = tuple.source_port.to_ne_bytes();
    let [c, d] = tuple.destination_port.to_ne_bytes();
    told.came_ports = [a, b, c, d];
}

/// Tells of a frame that is sent by an action of XDP, if it is one of the sample. [`note_came`] was before.
#[inline(always)]
pub fn frame_sent(xdp: Xdp, action: u32, told: &mut Told) {
    let one_of = XDP_SAMPLE.load();
    // SAFETY: a helper without arguments.
    if one_of != 0 && unsafe { bpf_get_prandom_u32() } % one_of == 0 {
        let outcome = if action == BACK { XDP_BACK } else { XDP_ACROSS };
        log_frame_sent(xdp.raw(), told, outcome);
    }
}

/// As [`log_dropped`].
#[unsafe(no_mangle)]
extern "C" fn log_frame_sent(xdp: *mut xdp_md, told: *mut Told, outcome: u32) -> i32 {
    // SAFETY: the verifier knows the size; the caller passes a live, exclusive value.
    if let Some(told) = unsafe { told.as_mut() } {
        let xdp = Xdp::new(xdp);
        describe(xdp, kind_of(xdp), outcome, told);
        // SAFETY: made of integers, without padding.
        let bytes = unsafe { bytes_of(told) };
        info!(&XdpContext::new(xdp.raw()), "{:x}", bytes);
    }
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

/// Fills in what is seen of a packet. All that is told stands in the program's room: it is done with that.
#[inline(always)]
fn describe(frame: impl Network, kind: u16, outcome: u32, told: &mut Told) {
    told.outcome = outcome;
    told.ifindex = frame.ifindex();
    told.length = frame.length();
    told.ethertype = kind;
    match kind {
        ETH_IP => describe4(frame, told),
        ETH_IPV6 => describe6(frame, told),
        _ => {}
    }
}

/// One row of bytes, which takes the least stack.
///
/// # Safety
/// Of a value made of integers, without padding.
#[inline(always)]
unsafe fn bytes_of(told: &Told) -> &[u8] {
    // SAFETY: as long as the value, and for as long as it lives.
    unsafe { from_raw_parts((&raw const *told).cast::<u8>(), Told::SIZE) }
}

#[inline(always)]
fn describe4(frame: impl Network, told: &mut Told) {
    let mut version = [0_u8; 2];
    let mut fragment = 0_u16;
    let mut protocol = [0_u8; 2];
    let known = frame.network_to(0, &mut version)
        && frame.network_to(6, &mut fragment)
        && frame.network_to(8, &mut protocol)
        && frame.network_to(12, first_word(&mut told.source))
        && frame.network_to(16, first_word(&mut told.destination));
    told.protocol = protocol[1];
    if known && u16::from_be(fragment) & FRAGMENT == 0 {
        describe_transport(frame, u32::from(version[0] & 15) * 4, told);
    }
}

#[inline(always)]
fn describe6(frame: impl Network, told: &mut Told) {
    let mut next = [0_u8; 2];
    let known = frame.network_to(6, &mut next)
        && frame.network_to(8, &mut told.source)
        && frame.network_to(24, &mut told.destination);
    told.protocol = next[0];
    if known {
        describe_transport(frame, HEADER6, told);
    }
}

#[inline(always)]
fn describe_transport(frame: impl Network, offset: u32, told: &mut Told) {
    if matches!(told.protocol, TCP | UDP | SCTP | ICMP | ICMPV6) {
        told.begins = u8::from(frame.network_to(offset, &mut told.first));
    }
}

/// Where an IPv4 address stands.
#[inline(always)]
fn first_word(address: &mut [u8; 16]) -> &mut [u8; 4] {
    // SAFETY: its beginning.
    unsafe { &mut *(&raw mut *address).cast() }
}
