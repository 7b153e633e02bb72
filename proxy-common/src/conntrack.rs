//! `FLOW_INDEX4`, `FLOW_INDEX6` (HASH) and `FLOWS4`, `FLOWS6` (ARRAY, memory-mapped): our own connection tracking.
//!
//! A flow is one record in a slot of `FLOWS*`. It has two directions: 0 is that of the packet that began it. The
//! index finds it by the tuple of a packet *as it arrives at a hook*, and says which direction that is. A flow has
//! two such keys: the tuple of its beginner, and the reverse of what that is turned into. So a translated flow is no
//! different from a plain one: `target[d]` is what a packet of direction d is turned into, and differs from its tuple
//! or does not.
//!
//! One key for both directions of a plain flow would not do: what a Service and then masquerade translate has a record of each, and
//! one of these has a tuple of which the other has the answer.
//!
//! What changes over a flow's life stands in `head`, beside the generation of the slot: it is changed by
//! compare-and-swap only, so that nobody writes into a flow that took the slot meanwhile. A slot is taken by the
//! program that needs one, when its flow has expired, or under pressure when it is not assured; whoever takes it
//! removes its keys. Nobody has to collect.
//!
//! The index is only ever inserted into where nothing stands: a key has one owner, whatever two processors do at once.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

mod ends;
mod head;
mod timeouts;

pub use ends::Segment;
pub use head::Head;
pub use timeouts::{
    DEFAULT_TIMEOUTS, FLOW_CLOSED_SECONDS, FLOW_HALF_OPEN_SECONDS, FLOW_ICMP_SECONDS,
    FLOW_OTHER_SECONDS, Timeouts,
};

/// Addresses and ports of a packet, or what it is turned into.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port, network order; ICMP echo: identifier; 0 where there is none.
    pub source_port: u16,
    /// Destination port, network order; ICMP echo: identifier; 0 where there is none.
    pub destination_port: u16,
}

impl<A: Copy> Tuple<A> {
    /// The tuple of an answer.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }
}

/// Key of `FLOW_INDEX*`: a packet as it arrives at a hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey<A> {
    /// Addresses and ports.
    pub tuple: Tuple<A>,
    /// IP protocol number.
    pub protocol: u32,
}

/// Value of `FLOW_INDEX*`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowPlace {
    /// The slot in `FLOWS*`, shifted left by one, and the direction.
    pub slot_and_direction: u32,
    /// Generation of the slot, zero-extended: an entry of another one names a flow that is gone.
    pub generation: u32,
}

impl FlowPlace {
    /// The entry of a direction (0 or 1) of the flow in a slot.
    #[must_use]
    pub const fn new(slot: u32, direction: u32, generation: u16) -> Self {
        Self {
            slot_and_direction: slot << 1 | direction,
            generation: generation as u32,
        }
    }

    /// The slot.
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.slot_and_direction >> 1
    }

    /// The direction, 0 or 1.
    #[must_use]
    pub const fn direction(&self) -> u32 {
        self.slot_and_direction & 1
    }
}

/// Value of `FLOWS*`: a flow. Pairs are indexed by direction: that of the packet, or of what its sender sends.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow<A> {
    /// See [`Head`].
    pub head: u64,
    /// Seconds since boot until which the flow lives; 0 for a slot that was never used.
    pub expires: u32,
    /// Epochs of policy: of the beginner's egress, of the receiver's ingress. A flow that is relayed has no beginner here: without
    /// a receiver either, its epochs and cookies are the address at which the backend's node ends the tunnel; else its first
    /// cookie is the node's to which answers go, in `RELAYS`, or 0 if they go to the client directly.
    pub epoch: [u32; 2],
    /// Endpoint ids of both ends; 0 outside of the node, [`ENDPOINT_HOST`] the node itself.
    pub endpoint: [u16; 2],
    /// Cookies of the rules that allowed it: egress, ingress.
    pub cookie: [u32; 2],
    /// Id of the Service port that it came through; 0 for none.
    pub service: u32,
    /// Id of the backend that it was given; 0 for none.
    pub backend: u32,
    /// Into what packets of each direction are turned.
    pub target: [Tuple<A>; 2],
}

impl<A: Copy> Flow<A> {
    /// The tuple by which the index finds packets of a direction.
    #[must_use]
    pub const fn tuple(&self, direction: usize) -> Tuple<A> {
        self.target[1 - direction].reversed()
    }

    /// Where the node ends the tunnel to which a flow goes that is relayed and has no end here, IPv4 mapped to IPv6.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn relay(&self) -> Address6 {
        let ([a, b], [c, d]) = (self.epoch, self.cookie);
        [a, b, c, d]
    }

    /// Sets [`Self::relay`].
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
    pub const fn relay_to(&mut self, [a, b, c, d]: Address6) {
        self.epoch = [a, b];
        self.cookie = [c, d];
    }
}

/// Key of `FLOW_INDEX4`.
pub type FlowKey4 = FlowKey<Address4>;
/// Key of `FLOW_INDEX6`.
pub type FlowKey6 = FlowKey<Address6>;
/// Value of `FLOWS4`.
pub type Flow4 = Flow<Address4>;
/// Value of `FLOWS6`.
pub type Flow6 = Flow<Address6>;

/// In `Flow::endpoint`: the node itself.
pub const ENDPOINT_HOST: u16 = u16::MAX;

/// The side that did not begin has answered.
pub const FLOW_REPLIED: u16 = 1 << 0;
/// The beginner has spoken again after the answer: the flow lives long, and no other one takes its slot.
pub const FLOW_ASSURED: u16 = 1 << 1;
/// TCP: direction 0 has sent FIN. It counts once it is acknowledged: see [`Head::has_ended`].
pub const FLOW_FIN_0: u16 = 1 << 2;
/// TCP: direction 1 has sent FIN. It counts once it is acknowledged: see [`Head::has_ended`].
pub const FLOW_FIN_1: u16 = 1 << 3;
/// TCP: a credible RST was seen from direction 0, and from neither anything after it but RST.
pub const FLOW_RST_0: u16 = 1 << 4;
/// TCP: a credible RST was seen from direction 1, and from neither anything after it but RST.
pub const FLOW_RST_1: u16 = 1 << 5;
/// A pod reaches itself through a Service: its packets come back to it from the frontend's address.
pub const FLOW_HAIRPIN: u16 = 1 << 6;
/// The flow goes through the host's stack, which must see both directions, as client and backend, or neither.
pub const FLOW_STACK: u16 = 1 << 7;
/// The source was translated to an address of this node, or one that stands for it.
pub const FLOW_SOURCE_TRANSLATED: u16 = 1 << 8;
/// The host asked over its loopback interface, where its answers go.
pub const FLOW_LOOPBACK: u16 = 1 << 9;
/// Somebody is taking the slot: keys come and go. Others leave it alone.
pub const FLOW_BUSY: u16 = 1 << 10;
/// The flow is over, whatever `expires` says: set from outside of the datapath.
pub const FLOW_ENDED: u16 = 1 << 11;
/// A pod speaks in the node's name to an address out of the cluster: where that is all that is translated, the stack may
/// have the packet first, and the link by which it leaves turns it.
pub const FLOW_MASQUERADED: u16 = 1 << 12;
/// What comes from outside goes as it is to the backend's node, by the tunnel. Both nodes have such a flow: see [`Flow::epoch`].
pub const FLOW_RELAYED: u16 = 1 << 13;
/// With [`FLOW_RELAYED`], where no end is on the node: the backend's node answers the client itself.
pub const FLOW_DIRECT: u16 = 1 << 14;

/// Seconds after its expiry for which the slot of a flow is left alone while there is another one: no program runs as long.
pub const FLOW_GRACE_SECONDS: u32 = 2;

map_types!(
    Tuple<Address4> = 12,
    Tuple<Address6> = 36,
    FlowKey4 = 16,
    FlowKey6 = 40,
    FlowPlace = 8,
    Flow4 = 64,
    Flow6 = 112
);
