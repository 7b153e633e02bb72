//! Headers into a [`Packet`].
//!
//! The plain case (no options, no extension headers, linear buffer) reads the packet directly, all else goes
//! through the kernel's helper.

pub mod v4;
pub mod v6;

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::INVALID_PACKET;
use proxy_common::fragments::{FragmentKey, FragmentPorts, period, period_before};

use super::description::{
    ERROR, FIRST_FRAGMENT, LATER_FRAGMENT, Packet, SYN, UNKNOWN_FRAGMENT, WHOLE,
};
use crate::machine::clock::now;
use crate::machine::frame::Frame;
use crate::machine::global::global;
use crate::machine::verdict::CONTINUE;
use crate::maps::Family;

/// Ports, as UDP, SCTP and TCP have them.
#[derive(Clone, Copy)]
#[repr(C)]
struct Ports {
    source: u16,
    destination: u16,
}

/// TCP up to its flags.
#[derive(Clone, Copy)]
#[repr(C)]
struct TcpStart {
    ports: Ports,
    sequence: u32,
    acknowledged: u32,
    offset: u8,
    flags: u8,
}

/// SCTP up to the type of its first chunk.
#[derive(Clone, Copy)]
#[repr(C)]
struct SctpStart {
    ports: Ports,
    tag: u32,
    crc: u32,
    chunk: u8,
    flags: u8,
}

/// The chunk that opens an association (RFC 9260, 3.3.2); it is alone in its packet.
const INIT: u8 = 1;

/// ICMP of both families.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub checksum: u16,
    /// Echo: identifier. Errors: zero, or what the kind says.
    pub identifier: u16,
    /// Echo: sequence number. Errors: zero, or what the kind says.
    pub sequence: u16,
}

/// The packet is unusual: [`parse_unusual`] goes on.
pub const UNUSUAL: Verdict = CONTINUE + 1;

/// Describes a packet whose link header is `link` bytes long. Fragments of different `scope`s are not of one datagram.
#[inline(always)]
pub fn parse<F: Family>(
    frame: impl Frame,
    packet: &mut Packet<F>,
    link: u32,
    scope: u32,
) -> Verdict {
    packet.now = now();
    packet.link = link;
    packet.scope = scope;
    packet.tcp = 0;
    packet.icmp = 0;
    packet.shape = WHOLE;
    packet.transport_header = 8;
    packet.tuple.source_port = 0;
    packet.tuple.destination_port = 0;
    let verdict = match packet.v4() {
        Some(packet) => v4::header(frame, packet),
        None => packet
            .v6()
            .map_or(dropped(INVALID_PACKET), |packet| v6::header(frame, packet)),
    };
    if verdict != CONTINUE {
        return verdict;
    }
    if packet.carrier == F::ICMP {
        return UNUSUAL;
    }
    transport(frame, packet)
}

global! {
    /// Goes on where [`parse`] has stopped: options, extension headers, fragments, ICMP with what its errors quote. A function
    /// of its own, for its need of stack is not that of most packets.
    pub fn parse_unusual(skb, packet: Packet) = rest
}

/// The generic form of [`parse_unusual`].
#[inline(always)]
pub fn rest<F: Family>(frame: impl Frame, packet: &mut Packet<F>) -> Verdict {
    if let Some(packet) = packet.v4() {
        return v4::rest(frame, packet);
    }
    match packet.v6() {
        Some(packet) => v6::rest(frame, packet),
        None => dropped(INVALID_PACKET),
    }
}

/// Reads at the transport header: directly if it is where it mostly is.
#[inline(always)]
fn at_transport<F: Family, T: Copy>(frame: impl Frame, packet: &Packet<F>) -> Option<T> {
    if packet.is_plain() {
        frame.read((packet.link & 15) + F::HEADER)
    } else {
        frame.load(packet.transport)
    }
}

/// The transport header, unless that is ICMP.
#[inline(always)]
fn transport<F: Family>(frame: impl Frame, packet: &mut Packet<F>) -> Verdict {
    let protocol = packet.carrier;
    if protocol == TCP {
        let Some(tcp) = at_transport::<F, TcpStart>(frame, packet) else {
            return dropped(INVALID_PACKET);
        };
        if tcp.offset >> 4 < 5 {
            return dropped(INVALID_PACKET);
        }
        packet.tcp = tcp.flags;
        packet.transport_header = (tcp.offset >> 4) * 4;
        packet.sequence = u32::from_be(tcp.sequence);
        packet.acknowledged = u32::from_be(tcp.acknowledged);
        ports(packet, tcp.ports);
    } else if protocol == SCTP {
        let Some(sctp) = at_transport::<F, SctpStart>(frame, packet) else {
            return dropped(INVALID_PACKET);
        };
        if sctp.chunk == INIT {
            packet.tcp = SYN;
        }
        ports(packet, sctp.ports);
    } else if protocol == UDP {
        let Some(both) = at_transport::<F, Ports>(frame, packet) else {
            return dropped(INVALID_PACKET);
        };
        ports(packet, both);
    }
    CONTINUE
}

/// As [`transport`], ICMP included. `CONTINUE` with an error leaves the quoted packet to the caller.
#[inline(always)]
fn any_transport<F: Family>(
    frame: impl Frame,
    packet: &mut Packet<F>,
    is_error: impl FnOnce(u8) -> bool,
) -> Verdict {
    if packet.carrier != F::ICMP {
        return transport(frame, packet);
    }
    let Some(icmp) = at_transport::<F, Icmp>(frame, packet) else {
        return dropped(INVALID_PACKET);
    };
    packet.icmp = u16::from_be_bytes([icmp.kind, icmp.code]);
    if is_error(icmp.kind) {
        packet.shape = ERROR;
    } else if icmp.kind == F::ECHO_REQUEST || icmp.kind == F::ECHO_REPLY {
        packet.tuple.source_port = icmp.identifier;
        packet.tuple.destination_port = icmp.identifier;
    }
    CONTINUE
}

#[inline(always)]
fn ports<F: Family>(packet: &mut Packet<F>, ports: Ports) {
    packet.tuple.source_port = ports.source;
    packet.tuple.destination_port = ports.destination;
}

/// Which datagram a fragment is of.
#[derive(Clone, Copy)]
struct Piece {
    identification: u32,
    /// It is not the first one.
    later: bool,
}

/// The datagram that a fragment is of, if its first one came in this period.
#[inline(always)]
const fn fragment_key<F: Family>(packet: &Packet<F>) -> FragmentKey<F::Address> {
    FragmentKey {
        source: packet.source,
        destination: packet.destination,
        identification: packet.identification,
        scope: packet.scope,
        protocol: packet.carrier as u32 | period(packet.now),
    }
}

/// Gives a later fragment the ports of the first, if that went by.
#[inline(always)]
pub(super) fn complete<F: Family>(packet: &mut Packet<F>) -> bool {
    let mut key = fragment_key(packet);
    // SAFETY: read at once.
    let mut known = unsafe { F::fragments().get(key) };
    if known.is_none() {
        key.protocol = period_before(key.protocol);
        // SAFETY: as above.
        known = unsafe { F::fragments().get(key) };
    }
    let Some(known) = known else {
        return false;
    };
    packet.shape = LATER_FRAGMENT;
    packet.tuple.source_port = known.source_port;
    packet.tuple.destination_port = known.destination_port;
    true
}

/// A fragment: the first tells its ports to the later ones.
#[inline(always)]
fn fragment<F: Family>(
    frame: impl Frame,
    packet: &mut Packet<F>,
    piece: Piece,
    is_error: impl FnOnce(u8) -> bool,
) -> Verdict {
    packet.identification = piece.identification;
    if piece.later {
        packet.icmp = u16::from_be_bytes([F::ECHO_REQUEST, 0]);
        packet.shape = UNKNOWN_FRAGMENT;
        complete(packet);
        return CONTINUE;
    }
    let verdict = any_transport(frame, packet, is_error);
    if verdict != CONTINUE || packet.shape == ERROR {
        return verdict;
    }
    packet.shape = FIRST_FRAGMENT;
    let value = FragmentPorts {
        source_port: packet.tuple.source_port,
        destination_port: packet.tuple.destination_port,
    };
    // The map evicts; if even that fails, the later fragments count as unknown.
    F::fragments().insert(fragment_key(packet), value, 0).ok();
    CONTINUE
}

/// Fills in the flow of a quoted packet whose transport header is at `at`, turned round.
#[inline(always)]
fn quoted<F: Family>(frame: impl Frame, packet: &mut Packet<F>, at: u32) -> Verdict {
    packet.quoted_transport = at;
    if packet.protocol == TCP || packet.protocol == UDP || packet.protocol == SCTP {
        let Some(inner) = frame.load::<Ports>(at) else {
            return dropped(INVALID_PACKET);
        };
        packet.tuple.source_port = inner.destination;
        packet.tuple.destination_port = inner.source;
    } else if packet.protocol == F::ICMP {
        let Some(inner) = frame.load::<Icmp>(at) else {
            return dropped(INVALID_PACKET);
        };
        if inner.kind == F::ECHO_REQUEST || inner.kind == F::ECHO_REPLY {
            packet.tuple.source_port = inner.identifier;
            packet.tuple.destination_port = inner.identifier;
        }
    }
    CONTINUE
}

use crate::machine::verdict::{Verdict, dropped};
