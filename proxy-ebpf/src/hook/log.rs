//! Telling of dropped packets, for debugging (`aya-log`). Off unless the agent loads the programs with a level: the
//! verifier then removes all of this.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;

use crate::machine::frame::{ETH_IP, ETH_IPV6, ETHERNET, Frame as _};
use crate::machine::skb::Skb;

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

/// A function of its own: the macros want more stack than the programs have left.
///
/// Words that `proxy-agent`'s `datapath/drop_log.rs` reads: reason, interface, length, source, destination.
#[unsafe(no_mangle)]
extern "C" fn log_dropped(skb: *mut __sk_buff, reason: u32) -> i32 {
    let skb = Skb::new(skb);
    let context = TcContext::new(skb.raw());
    let (ifindex, length) = (skb.ifindex(), skb.length());
    match skb.protocol() {
        ETH_IP => {
            if let Some([source, destination]) = skb.read::<Pair4>(AT4) {
                let (source, destination) = (u32::from_be(source), u32::from_be(destination));
                debug!(
                    &context,
                    "{} {} {} {:i} {:i}", reason, ifindex, length, source, destination
                );
            }
        }
        ETH_IPV6 => {
            if let Some([source, destination]) = skb.read::<Pair6>(AT6) {
                debug!(
                    &context,
                    "{} {} {} {:i} {:i}", reason, ifindex, length, source, destination
                );
            }
        }
        _ => {}
    }
    0
}
