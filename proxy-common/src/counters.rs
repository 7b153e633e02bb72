//! `DROPS` (PERCPU ARRAY, reason → [`Counter`]): why packets were not let through, by name.

use crate::pod::map_types;

/// Value of `DROPS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, link layer included.
    pub bytes: u64,
}

/// Declares the drop reasons once: constants for the kernel, names for people.
macro_rules! reasons {
    ($($constant:ident = $number:literal, $name:literal, $text:literal;)+) => {
        $(#[doc = $text] pub const $constant: u32 = $number;)+

        /// Name of a drop reason; `unknown` for a number that this version does not know.
        #[must_use]
        pub const fn reason_name(reason: u32) -> &'static str {
            match reason { $($number => $name,)+ _ => "unknown" }
        }

        /// What a drop reason means; nothing for a number that this version does not know.
        #[must_use]
        pub const fn reason_meaning(reason: u32) -> &'static str {
            match reason { $($number => $text,)+ _ => "" }
        }

        /// Every drop reason of this version.
        pub const REASONS: &[u32] = &[$($number),+];
    };
}

reasons! {
    INVALID_PACKET = 1, "invalid-packet", "Headers are cut short or contradict each other.";
    SPOOFED_SOURCE = 2, "spoofed-source", "A pod sent from an address that is not its own.";
    POLICY_EGRESS = 3, "policy-egress", "Egress policy of the sending pod.";
    POLICY_INGRESS = 4, "policy-ingress", "Ingress policy of the receiving pod.";
    NO_POLICY = 5, "no-policy", "The endpoint's policy is not known yet.";
    UNKNOWN_ENDPOINT = 6, "unknown-endpoint", "A pod interface that the agent has not registered.";
    NO_BACKEND = 7, "no-backend", "A frontend without usable endpoints; the client is told (RST or unreachable).";
    NO_LOCAL_BACKEND = 8, "no-local-backend", "Traffic policy is Local and no endpoint is here.";
    BACKEND_GONE = 9, "backend-gone", "A slot or backend that the maps promise is missing.";
    FLOW_CLASH = 10, "flow-clash", "The translated flow is already in use by another one.";
    NO_SOURCE_PORT = 11, "no-source-port", "No free port for source translation.";
    FLOWS_FULL = 12, "flows-full", "No room for a new flow.";
    FRAGMENT_UNKNOWN = 13, "fragment-unknown", "A later fragment whose first one was not seen.";
    REWRITE_FAILED = 14, "rewrite-failed", "The packet could not be rewritten.";
    EXTENSION_HEADERS = 15, "extension-headers", "More IPv6 extension headers than are followed.";
    POLICY_CORRUPT = 16, "policy-corrupt", "A policy word names a row, class or list that does not exist.";
    NO_ROUTE = 17, "no-route", "The host's packet to a backend to which no route leads, or none that has room for it.";
    UNSUPPORTED_FRAME = 18, "unsupported-frame", "A pod sent a frame that is neither IPv4, IPv6 nor ARP, or that bears a VLAN tag.";
    TOO_BIG = 19, "too-big", "A translated packet for which its way has no room; the sender is told.";
    HOP_LIMIT = 20, "hop-limit", "A translated packet without hops left; the sender is told.";
    NO_FLOW = 21, "no-flow", "A segment to a Service that belongs to no connection and opens none; a pod is told (RST).";
    NOT_MASQUERADED = 22, "not-masqueraded", "A pod sent something out of the cluster that cannot be sent in the node's name: neither TCP, UDP, SCTP, an ICMP echo, nor an error about one of these; or by a link that came in this moment.";
    SETTLING = 23, "settling", "No flow may begin for a moment, while the agent exchanges the maps of flows: the packet is sent again.";
    NOT_A_PEER = 24, "not-a-peer", "By the tunnel came something else than IP, for a network that is not ours, or from a node that does not have the sender's address.";
    NO_TUNNEL = 25, "no-tunnel", "A packet for the tunnel, to which no node's tunnel leads.";
    TUNNEL_PORT = 26, "tunnel-port", "A datagram to the port of the tunnel that would have left in the node's name.";
    SOURCE_RANGE = 27, "source-range", "A client of a load balancer's address that is in none of the Service's loadBalancerSourceRanges.";
    NO_SERVICE = 28, "no-service", "An address of the ranges of Services that no Service has; one may be about to have it.";
    NOT_ENCRYPTED = 29, "not-encrypted", "A packet to another node's pods that would have left unencrypted (encryption.strict).";
    RELAY_ASTRAY = 30, "relay-astray", "Another node relayed what belongs to no flow here and begins none with a backend here; two nodes may differ for a moment about who serves.";
    BANDWIDTH = 31, "bandwidth", "A pod sent, or was sent, more than its limit of bandwidth and what may wait behind it. Where the kernel has no fq, its token bucket counts these itself.";
}

/// Beside the reasons: frames that XDP sent out again by the link on which they came.
pub const XDP_BACK: u32 = 61;
/// Frames that XDP sent out by another link.
pub const XDP_ACROSS: u32 = 62;
/// Frames that XDP left to tc.
pub const XDP_UP: u32 = 63;

/// What became of frames that XDP did not drop, with its name.
pub const XDP_VERDICTS: [(u32, &str); 3] =
    [(XDP_BACK, "back"), (XDP_ACROSS, "across"), (XDP_UP, "up")];

/// Capacity of `DROPS`.
pub const REASON_LIMIT: u32 = 64;

map_types!(Counter = 16);
