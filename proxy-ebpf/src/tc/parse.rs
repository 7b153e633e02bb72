//! Headers into a [`Packet`].
//!
//! The plain case (no options, no extension headers, linear buffer) reads the packet directly, all else goes
//! through the kernel's helper.

pub mod v4;
pub mod v6;

use proxy_common::address::{SCTP, TCP, UDP};
use proxy_common::counters::INVALID_PACKET;
use proxy_common::fragments::FragmentPorts;

use super::packet::{ERROR, FIRST_FRAGMENT, LATER_FRAGMENT, Packet, UNKNOWN_FRAGMENT};
use super::skb::Skb;
use super::verdict::{CONTINUE, Verdict, dropped};
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
    sequence: [u32; 2],
    offset: u8,
    flags: u8,
}

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
    /// Echo: identifier.
    pub identifier: u16,
    /// Echo: sequence number.
    pub sequence: u16,
}

/// What the families say of ICMP types.
pub trait IcmpTypes: Family {
    /// Reads the headers.
    fn parse(skb: Skb, packet: &mut Packet<Self>) -> Verdict;

    /// Echo request.
    const ECHO_REQUEST: u8;
    /// Echo reply.
    const ECHO_REPLY: u8;
    /// Offset of the transport header when nothing stands between.
    const PLAIN_TRANSPORT: usize;
    /// Whether the type is an error that quotes a packet.
    fn is_error(kind: u8) -> bool;
}

/// Reads at the transport header: directly if it is where it mostly is.
#[inline(always)]
fn read<F: IcmpTypes, T: Copy>(skb: Skb, offset: u32) -> Option<T> {
    if offset == F::PLAIN_TRANSPORT as u32 {
        skb.read(F::PLAIN_TRANSPORT)
    } else {
        skb.load(offset)
    }
}

/// The transport header. `CONTINUE` with a quoting ICMP error leaves the quoted packet to the caller.
#[inline(always)]
fn transport<F: Family + IcmpTypes>(skb: Skb, packet: &mut Packet<F>) -> Verdict {
    let at = packet.transport;
    let protocol = packet.carrier;
    if protocol == TCP {
        let Some(tcp) = read::<F, TcpStart>(skb, at) else {
            return dropped(INVALID_PACKET);
        };
        if tcp.offset >> 4 < 5 {
            return dropped(INVALID_PACKET);
        }
        packet.tcp = tcp.flags;
        ports(packet, tcp.ports);
    } else if protocol == UDP || protocol == SCTP {
        let Some(both) = read::<F, Ports>(skb, at) else {
            return dropped(INVALID_PACKET);
        };
        ports(packet, both);
    } else if protocol == F::ICMP {
        let Some(icmp) = read::<F, Icmp>(skb, at) else {
            return dropped(INVALID_PACKET);
        };
        packet.icmp = u16::from_be_bytes([icmp.kind, icmp.code]);
        if F::is_error(icmp.kind) {
            packet.shape = ERROR;
        } else if icmp.kind == F::ECHO_REQUEST || icmp.kind == F::ECHO_REPLY {
            packet.flow.from_port = icmp.identifier;
            packet.flow.to_port = icmp.identifier;
        }
    }
    CONTINUE
}

#[inline(always)]
fn ports<F: Family>(packet: &mut Packet<F>, ports: Ports) {
    packet.flow.from_port = ports.source;
    packet.flow.to_port = ports.destination;
}

/// A fragment: the first tells its ports to the later ones.
#[inline(always)]
fn fragment<F: Family + IcmpTypes>(
    skb: Skb,
    packet: &mut Packet<F>,
    later: bool,
    identification: u32,
) -> Verdict {
    // Only `from_pod` sets no mark.
    let scope = if packet.marks == 0 { skb.ifindex() } else { 0 };
    let key = F::fragment_key(
        packet.source,
        packet.destination,
        identification,
        scope,
        packet.carrier,
    );
    if later {
        packet.icmp = u16::from_be_bytes([F::ECHO_REQUEST, 0]);
        // SAFETY: read at once; a stale entry gives ports of an older datagram with the same number.
        let Some(known) = (unsafe { F::fragments().get(key) }) else {
            packet.shape = UNKNOWN_FRAGMENT;
            return CONTINUE;
        };
        packet.shape = LATER_FRAGMENT;
        packet.flow.from_port = known.source_port;
        packet.flow.to_port = known.destination_port;
        return CONTINUE;
    }
    let verdict = transport(skb, packet);
    if verdict != CONTINUE || packet.shape == ERROR {
        return verdict;
    }
    packet.shape = FIRST_FRAGMENT;
    let value = FragmentPorts {
        source_port: packet.flow.from_port,
        destination_port: packet.flow.to_port,
    };
    // The map evicts; if even that fails, the later fragments count as unknown.
    F::fragments().insert(key, value, 0).ok();
    CONTINUE
}

/// Fills in the flow of a quoted packet whose transport header is at `at`, turned round.
#[inline(always)]
fn quoted<F: Family + IcmpTypes>(skb: Skb, packet: &mut Packet<F>, at: u32) -> Verdict {
    packet.quoted_transport = at;
    if packet.protocol == TCP || packet.protocol == UDP || packet.protocol == SCTP {
        let Some(inner) = skb.load::<Ports>(at) else {
            return dropped(INVALID_PACKET);
        };
        packet.flow.from_port = inner.destination;
        packet.flow.to_port = inner.source;
    } else if packet.protocol == F::ICMP {
        let Some(inner) = skb.load::<Icmp>(at) else {
            return dropped(INVALID_PACKET);
        };
        if inner.kind == F::ECHO_REQUEST || inner.kind == F::ECHO_REPLY {
            packet.flow.from_port = inner.identifier;
            packet.flow.to_port = inner.identifier;
        }
    }
    CONTINUE
}
