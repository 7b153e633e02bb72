//! ARP of a pod: its gateway is this machine, whoever in the pod asks for it.

use proxy_common::host::POD_GATEWAY4;

use crate::know::endpoint;
use crate::machine::frame::{Buffer as _, ETHERNET, Frame as _};
use crate::machine::skb::{Skb, redirect_peer};
use crate::machine::verdict::{NEXT, Verdict};

/// ARP for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy)]
#[repr(C, packed(2))]
struct Arp {
    hardware: u16,
    protocol: u16,
    lengths: [u8; 2],
    operation: u16,
    sender_mac: [u8; 6],
    sender: u32,
    target_mac: [u8; 6],
    target: u32,
}

const REQUEST: u16 = 1_u16.to_be();
const REPLY: u16 = 2_u16.to_be();

/// Answers a request for the gateway; all else is the stack's.
#[inline(never)]
pub(super) fn answer(skb: Skb) -> Verdict {
    let Some(asked) = skb.load::<Arp>(ETHERNET) else {
        return NEXT;
    };
    if asked.operation != REQUEST || asked.target != POD_GATEWAY4 {
        return NEXT;
    }
    let Some(own) = endpoint::of_interface(skb.ifindex()).and_then(endpoint::get) else {
        return NEXT;
    };
    let reply = Arp {
        operation: REPLY,
        sender_mac: own.host_mac,
        sender: asked.target,
        target_mac: asked.sender_mac,
        target: asked.sender,
        ..asked
    };
    let ends = [asked.sender_mac, own.host_mac];
    if skb.store(0, &ends) && skb.store(ETHERNET, &reply) {
        redirect_peer(skb.ifindex())
    } else {
        NEXT
    }
}
