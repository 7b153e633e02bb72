//! What is known of a packet: filled by `parse`, kept in step by `rewrite`.

use proxy_common::conntrack::FlowState;

use super::service::Pick;
use crate::maps::{Family, FlowTuple};

/// A whole packet.
pub const WHOLE: u8 = 0;
/// The first fragment of a datagram.
pub const FIRST_FRAGMENT: u8 = 1;
/// A later fragment; its ports are those of the first.
pub const LATER_FRAGMENT: u8 = 2;
/// A later fragment whose first one was not seen: its ports are not known.
pub const UNKNOWN_FRAGMENT: u8 = 3;
/// An ICMP error about a packet of a flow.
pub const ERROR: u8 = 4;

/// The host's own stack sent the packet.
pub const MARK_FROM_HOST: u8 = 1 << 0;
/// The program runs at an egress hook, where `bpf_redirect_peer` is not to be had.
pub const MARK_EGRESS: u8 = 1 << 1;
/// The packet came by a frontend from outside: `frontend` says which.
pub const MARK_FRONTEND: u8 = 1 << 2;
/// The packet goes back to the pod that sent it.
pub const MARK_HAIRPIN: u8 = 1 << 3;
/// The packet leaves by the node's routes, not by the stack.
pub const MARK_ROUTE: u8 = 1 << 4;

/// The packet came from outside: only what the stack does not see in the other direction may pass it by.
pub const MARK_FROM_NET: u8 = 1 << 5;
/// With `MARK_FROM_HOST`: somebody else's packet, which the host's stack forwards to a Service.
pub const MARK_FORWARDED: u8 = 1 << 6;
/// The host's own packet goes to a backend on the host itself.
pub const MARK_TO_HOST: u8 = 1 << 7;

/// TCP: FIN.
pub const FIN: u8 = 1 << 0;
/// TCP: SYN.
pub const SYN: u8 = 1 << 1;
/// TCP: RST.
pub const RST: u8 = 1 << 2;
/// TCP: ACK.
pub const ACK: u8 = 1 << 4;

/// A packet.
#[repr(C)]
pub struct Packet<F: Family> {
    /// Addresses and ports from sender to receiver. For an ICMP error, those of the quoted packet turned
    /// round: as if the error were a packet of the flow.
    pub flow: FlowTuple<F::Address>,
    /// Source in the outer header.
    pub source: F::Address,
    /// Destination in the outer header.
    pub destination: F::Address,
    /// What `rewrite` turns the flow into.
    pub target: FlowTuple<F::Address>,
    /// Rewrite of the entry that `begin` and `claim` make.
    pub back: FlowTuple<F::Address>,
    /// Key of that entry.
    pub key: F::FlowKey,
    /// State of that entry.
    pub state: FlowState,
    /// A Service's choice.
    pub pick: Pick<F>,
    /// The frontend by which the packet came, with `MARK_FRONTEND`.
    pub frontend: F::Address,
    /// Seconds since boot.
    pub now: u32,
    /// Offset of the transport header.
    pub transport: u32,
    /// ICMP error: offset of the quoted network header.
    pub quoted: u32,
    /// ICMP error: offset of the quoted transport header.
    pub quoted_transport: u32,
    /// Port of `frontend`, network order.
    pub frontend_port: u16,
    /// Port from which the client came to `frontend`, network order.
    pub client_port: u16,
    /// ICMP: `type << 8 | code`.
    pub icmp: u16,
    /// Protocol of `flow`.
    pub protocol: u8,
    /// Protocol in the outer header (after extension headers).
    pub carrier: u8,
    /// [`WHOLE`] and so on.
    pub shape: u8,
    /// TCP flags.
    pub tcp: u8,
    /// Time to live or hop limit.
    pub hops: u8,
    /// `MARK_*` bits.
    pub marks: u8,
}

impl<F: Family> Packet<F> {
    /// Whether the packet opens a TCP connection.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.tcp & (SYN | ACK) == SYN
    }

    /// What policy calls the port: for ICMP its type and code.
    #[inline(always)]
    pub fn policy_port(&self, port: u16) -> u16 {
        if self.protocol == F::ICMP || self.shape == ERROR {
            self.icmp
        } else {
            u16::from_be(port)
        }
    }
}

/// The same flow, seen from the other side.
#[inline(always)]
pub fn reversed<A: Copy>(tuple: &FlowTuple<A>) -> FlowTuple<A> {
    FlowTuple {
        from: tuple.to,
        to: tuple.from,
        from_port: tuple.to_port,
        to_port: tuple.from_port,
    }
}
