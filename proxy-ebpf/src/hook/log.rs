//! Telling of dropped packets, for debugging (`aya-log`). Off unless the agent loads the programs with a level: the
//! verifier then removes all of this.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::debug;

use crate::machine::frame::{Buffer, ETH_IP, ETH_IPV6, ETHERNET, Frame as _};
use crate::machine::skb::Skb;
use crate::machine::xdp::Xdp;

/// Offset of the Ethernet type.
const TYPE: u32 = 12;
/// Source and destination in an IPv4 header, and their offset.
type Pair4 = [u32; 2];
const AT4: u32 = ETHERNET + 12;
/// The same of IPv6.
type Pair6 = [[u8; 16]; 2];
const AT6: u32 = ETHERNET + 8;

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

/// Words that `proxy-agent`'s `datapath/drop_log.rs` reads: reason, interface, length, source, destination.
#[inline(always)]
fn tell<C: EbpfContext>(context: &C, frame: impl Buffer, kind: u16, reason: u32) {
    let (ifindex, length) = (frame.ifindex(), frame.length());
    match kind {
        ETH_IP => {
            if let Some([source, destination]) = frame.read::<Pair4>(AT4) {
                let (source, destination) = (u32::from_be(source), u32::from_be(destination));
                debug!(
                    context,
                    "{} {} {} {:i} {:i}", reason, ifindex, length, source, destination
                );
            }
        }
        ETH_IPV6 => {
            if let Some([source, destination]) = frame.read::<Pair6>(AT6) {
                debug!(
                    context,
                    "{} {} {} {:i} {:i}", reason, ifindex, length, source, destination
                );
            }
        }
        _ => {}
    }
}
