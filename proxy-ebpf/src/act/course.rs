//! Where a packet goes: what following or beginning its flow found out, and all that forwarding needs.

use proxy_common::conntrack::ENDPOINT_HOST;

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
}

impl<F: Family> Course<F> {
    /// That of the packet that began a flow.
    #[inline(always)]
    pub fn begins(&mut self, start: &Start<F>) {
        // SAFETY: two values made of words.
        unsafe { copy(&raw const start.flow.target[0], &raw mut self.target) };
        self.receiver = u32::from(start.flow.endpoint[1]);
        self.flags = u32::from(start.flags);
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
    /// Egress of `weir_host`, a link or the loopback, for what the host itself sends.
    pub const FROM_HOST: u32 = 2;
    /// The same for what the host's stack forwards.
    pub const FORWARDED: u32 = 3;
    /// Egress of a pod's interface.
    pub const TO_POD: u32 = 4;
    /// Egress of the loopback.
    pub const LOOPBACK: u32 = 5;

    /// Whether the packet comes from outside, for which Services may have other backends.
    #[inline(always)]
    pub const fn is_outside(hook: u32) -> u32 {
        (hook == FROM_NET) as u32
    }

    /// Whether the hook is one of ingress, where a pod can be reached directly.
    #[inline(always)]
    pub const fn is_ingress(hook: u32) -> bool {
        hook <= FROM_NET
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
