//! What is known of a packet: filled by `parse`, kept in step by `rewrite`.

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::conntrack::Tuple;

use crate::maps::{Family, V4, V6};

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

/// TCP: FIN.
pub const FIN: u8 = 1 << 0;
/// TCP: SYN.
pub const SYN: u8 = 1 << 1;
/// TCP: RST.
pub const RST: u8 = 1 << 2;
/// TCP: ACK.
pub const ACK: u8 = 1 << 4;

/// What a packet's tuple is turned into.
pub type Target<F> = Tuple<<F as Family>::Address>;

/// A packet.
#[repr(C)]
pub struct Packet<F: Family> {
    /// Addresses and ports from sender to receiver. For an ICMP error, those of the quoted packet turned
    /// round: as if the error were a packet of the flow.
    pub tuple: Tuple<F::Address>,
    /// Source in the outer header.
    pub source: F::Address,
    /// Destination in the outer header.
    pub destination: F::Address,
    /// Length of the link's header: 14, or 0 for a link without one.
    pub link: u32,
    /// Offset of the transport header.
    pub transport: u32,
    /// ICMP error: offset of the quoted network header.
    pub quoted: u32,
    /// ICMP error: offset of the quoted transport header.
    pub quoted_transport: u32,
    /// Length as the IP header says it, that header included.
    pub length: u32,
    /// TCP: sequence number, host order.
    pub sequence: u32,
    /// TCP: acknowledged number, host order.
    pub acknowledged: u32,
    /// Seconds since boot.
    pub now: u32,
    /// Fragment: identification of its datagram, as on the wire.
    pub identification: u32,
    /// Fragment: those of different scopes are not of one datagram.
    pub scope: u32,
    /// ICMP: `type << 8 | code`.
    pub icmp: u16,
    /// Protocol of `tuple`.
    pub protocol: u8,
    /// Protocol in the outer header (after extension headers).
    pub carrier: u8,
    /// [`WHOLE`] and so on.
    pub shape: u8,
    /// TCP flags; of SCTP [`SYN`] for what opens an association.
    pub tcp: u8,
    /// Time to live or hop limit.
    pub hops: u8,
    /// Length of the transport header: TCP's with its options, 8 of UDP.
    pub transport_header: u8,
}

impl<F: Family> Packet<F> {
    /// Whether the packet opens a TCP connection or an association of SCTP.
    #[inline(always)]
    pub fn opens(&self) -> bool {
        let has_flags = self.is_segment() || self.protocol == SCTP && self.shape < LATER_FRAGMENT;
        has_flags && self.tcp & (SYN | ACK | RST) == SYN
    }

    /// Whether only what [`Self::opens`] may begin its flow to a Service.
    #[inline(always)]
    pub fn must_open(&self) -> bool {
        matches!(self.protocol, TCP | SCTP)
    }

    /// Whether TCP's flags are there to be read.
    #[inline(always)]
    pub fn is_segment(&self) -> bool {
        self.protocol == TCP && self.shape < LATER_FRAGMENT
    }

    /// How many bytes follow the transport header.
    #[inline(always)]
    pub fn data(&self) -> u32 {
        let headers = self.transport - self.link + u32::from(self.transport_header);
        self.length.saturating_sub(headers)
    }

    /// Whether its flow has ports, and they are known.
    #[inline(always)]
    pub fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP | SCTP) && self.shape != UNKNOWN_FRAGMENT
    }

    /// Whether it is an echo request, or a later fragment of an echo.
    #[inline(always)]
    pub fn asks(&self) -> bool {
        self.carrier == F::ICMP
            && self.shape != ERROR
            && self.icmp == u16::from_be_bytes([F::ECHO_REQUEST, 0])
    }

    /// Whether it is an echo reply, or a later fragment of an echo.
    #[inline(always)]
    pub fn replies(&self) -> bool {
        self.carrier == F::ICMP
            && self.shape != ERROR
            && (self.icmp >> 8 == u16::from(F::ECHO_REPLY) || self.shape >= LATER_FRAGMENT)
    }

    /// Whether the flow is one of datagrams, which follow their Service to another backend.
    #[inline(always)]
    pub fn is_datagram(&self) -> bool {
        self.protocol == UDP && self.shape != ERROR
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

    /// Whether there is nothing between IP header and transport.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        self.transport == self.link + F::HEADER
    }

    /// Itself, if it is of IPv4.
    #[inline(always)]
    pub fn v4(&mut self) -> Option<&mut Packet<V4>> {
        // SAFETY: of the two families there are, this is the one; the type is the same.
        (!F::IPV6).then(|| unsafe { &mut *(&raw mut *self).cast() })
    }

    /// Itself, if it is of IPv6.
    #[inline(always)]
    pub fn v6(&mut self) -> Option<&mut Packet<V6>> {
        // SAFETY: of the two families there are, this is the one; the type is the same.
        F::IPV6.then(|| unsafe { &mut *(&raw mut *self).cast() })
    }
}
