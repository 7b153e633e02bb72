//! What a program tells of a packet, where the configuration asks for that (`aya-log`): no map's type, but as fixed.

use crate::pod::map_types;

/// A packet that was dropped, or that XDP has sent out again; as it was when the program was done with it: perhaps translated.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// What became of it (`counters`): why it was dropped, or `XDP_BACK`, `XDP_ACROSS`.
    pub outcome: u32,
    /// The interface at whose hook that was.
    pub ifindex: u32,
    /// Bytes, link layer included.
    pub length: u32,
    /// Ethernet type, network order. What follows is zero unless it is IP's.
    pub ethertype: u16,
    /// The transport: IPv4's protocol, or IPv6's first next header.
    pub protocol: u8,
    /// Whether the next is known: not so in later fragments, behind extension headers, and of other protocols.
    pub begins: u8,
    /// First bytes of the transport's header: ports of TCP, UDP and SCTP, type and code of ICMP, network order.
    pub first: [u8; 4],
    /// Source, network order; IPv4 in the first four bytes.
    pub source: [u8; 16],
    /// Destination, in the same way.
    pub destination: [u8; 16],
    /// What was sent: source before it was translated, in the same way. Else zero, as are the next two.
    pub came_from: [u8; 16],
    /// Destination before that.
    pub came_to: [u8; 16],
    /// Source and destination port before that, network order.
    pub came_ports: [u8; 4],
}

impl Told {
    /// Its length in bytes.
    pub const SIZE: usize = size_of::<Self>();
}

#[cfg(feature = "user")]
impl Told {
    /// As its bytes lie in memory.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; Self::SIZE] {
        // SAFETY: as long, made of integers, without padding.
        unsafe { &*(&raw const *self).cast() }
    }

    /// From the bytes of one.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        // SAFETY: as long, made of integers, of which every pattern is one.
        unsafe { core::mem::transmute(bytes) }
    }
}

map_types! { Told = 88 }
