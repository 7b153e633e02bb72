//! Where a packet goes: what following or beginning its flow found out, and all that forwarding needs.

use proxy_common::conntrack::{ENDPOINT_HOST, FLOW_DIRECT, FLOW_RELAYED};
use proxy_common::tunnel::Relay;

use crate::machine::words::copy;
use crate::maps::Family;
use crate::packet::description::Target;
use crate::track::start::Start;

/// A packet's course.
#[repr(C)]
pub struct Course<F: Family> {
    /// What its tuple is turned into.
    pub target: Target<F>,
    /// Endpoint id of the receiver; 0 outside of the node, `ENDPOINT_HOST` the node.
    pub receiver: u32,
    /// `FLOW_*` bits of its flow.
    pub flags: u32,
    /// Out of the node: number of the way in `know::next_hop`.
    pub hop: u32,
    /// The MTU of a way that is too narrow.
    pub mtu: u32,
    /// With `FLOW_RELAYED` in `flags`: where the node ends the tunnel to which the packet goes, IPv4 mapped to IPv6.
    pub relay: Relay,
    /// At `hook::RELAYED`: by which node the packet came, in `RELAYS`; 0 if the answers do not go back to it.
    pub entry: u32,
    /// At `hook::TO_POD`: `ENDPOINT_*` bits of the receiver.
    pub receives: u32,
}

impl<F: Family> Course<F> {
    /// That of the packet that began a flow. Not inlined, for the need of stack.
    #[inline(never)]
    pub fn begins(&mut self, start: &Start<F>) {
        // SAFETY: two values made of words.
        unsafe { copy(&raw const start.flow.target[0], &raw mut self.target) };
        self.receiver = u32::from(start.flow.endpoint[1]);
        self.flags = u32::from(start.flags);
        if start.flags & FLOW_RELAYED == 0 {
            return;
        }
        if self.receiver == 0 {
            self.relay = start.flow.relay();
        } else {
            self.stays();
        }
    }

    /// The packet is not relayed, though its flow is.
    #[inline(always)]
    pub fn stays(&mut self) {
        self.flags &= !u32::from(FLOW_RELAYED | FLOW_DIRECT);
    }
}

/// The node itself, as a receiver.
pub const HOST: u32 = ENDPOINT_HOST as u32;

/// The hook at which a packet is forwarded.
pub mod hook {
    /// Ingress of a pod's interface.
    pub const FROM_POD: u32 = 0;
    /// Ingress of a link.
    pub const FROM_NET: u32 = 1;
    /// Ingress of the tunnel, for what another node relays: it came from outside for a Service, or answers such a packet.
    pub const RELAYED: u32 = 2;
    /// Egress of `weir_host`, a link or the loopback, for what the host itself sends.
    pub const FROM_HOST: u32 = 3;
    /// The same for what the host's stack forwards.
    pub const FORWARDED: u32 = 4;
    /// Egress of a pod's interface.
    pub const TO_POD: u32 = 5;
    /// Egress of the loopback.
    pub const LOOPBACK: u32 = 6;

    /// Whether the packet comes from outside, for which Services may have other backends: 1, or 2 if it may be for an
    /// address of another node.
    #[inline(always)]
    pub const fn is_outside(hook: u32) -> u32 {
        match hook {
            FROM_NET => 1,
            RELAYED => 2,
            _ => 0,
        }
    }

    /// Whether the hook is one of ingress to the node.
    #[inline(always)]
    pub const fn is_from_others(hook: u32) -> bool {
        hook == FROM_NET || hook == RELAYED
    }

    /// Whether the hook is one of ingress, where a pod can be reached directly.
    #[inline(always)]
    pub const fn is_ingress(hook: u32) -> bool {
        hook <= RELAYED
    }

    /// Whether the hook is one of a link's egress, where the packet has been routed.
    #[inline(always)]
    pub const fn is_egress(hook: u32) -> bool {
        hook == FROM_HOST || hook == FORWARDED
    }

    /// Whether the host itself sent the packet, with all its hops before it.
    #[inline(always)]
    pub const fn is_own(hook: u32) -> bool {
        hook == FROM_HOST || hook == LOOPBACK
    }
}
