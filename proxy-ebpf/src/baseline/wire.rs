//! What fills a link, and what empties it at its other end: in place of a network that sends as fast as it is asked to.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_redirect};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

use super::frame::{FAILED, head};

/// Where the words of a frame of IPv4 without options stand.
const IDENTIFICATION: usize = 18;
const SOURCE: usize = 28;
const SOURCE_PORT: usize = 34;
const DESTINATION_PORT: usize = 36;
/// The low half of TCP's sequence number.
const SEQUENCE: usize = 40;
/// So much of a frame is written and looked at, in bytes and in words.
const HEAD: usize = 52;
const WORDS: usize = HEAD / 4;

/// What is sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Wire {
    /// The start of the frame: it comes back as others have left it.
    pub frame: [u32; WORDS],
    /// By which link.
    pub link: u32,
    /// One less than a power of two: from so many source ports. 0: each frame from another address.
    pub mask: u32,
    /// Ports, network order, at which frames end that leave the other end.
    pub ends: [u32; 2],
}

#[map]
static WIRE: Array<Wire> = Array::with_max_entries(1, 0);

/// Sends the frame out by the link, from another client than the last one.
#[xdp]
pub fn send(context: XdpContext) -> u32 {
    let (Some(wire), Some(frame)) = (WIRE.get(0), head::<HEAD>(&context)) else {
        return FAILED;
    };
    let mut word = 0;
    while word < WORDS {
        // SAFETY: below `HEAD`.
        unsafe {
            let place = frame.cast::<u32>().add(word);
            place.write_unaligned(wire.frame[word]);
        }
        word += 1;
    }
    // SAFETY: a helper without pointers.
    let random = unsafe { bpf_get_prandom_u32() };
    // SAFETY: below `HEAD`.
    unsafe {
        if wire.mask == 0 {
            // What is added in one place is taken off in another one: checksums stay right.
            let random = random as u16;
            add(frame.add(SOURCE), random);
            add(frame.add(IDENTIFICATION), !random);
            add(frame.add(SEQUENCE), !random);
        } else {
            let port = 0x8000 | (random & wire.mask) as u16;
            let place = frame.add(SOURCE_PORT).cast::<u16>();
            place.write_unaligned(port.to_be());
        }
        (bpf_redirect(wire.link, 0) as i32).cast_unsigned()
    }
}

/// Adds to a word as checksums do.
///
/// # Safety
/// Two bytes.
#[inline(always)]
unsafe fn add(place: *mut u8, number: u16) {
    let place = place.cast::<u16>();
    // SAFETY: as the caller says.
    unsafe {
        let sum = u32::from(place.read_unaligned()) + u32::from(number);
        place.write_unaligned((sum as u16).wrapping_add((sum >> 16) as u16));
    }
}

/// Ends frames of IPv4 that are for one of the ports; what else comes goes on.
#[xdp]
pub fn sink(context: XdpContext) -> u32 {
    let (Some(wire), Some(frame)) = (WIRE.get(0), head::<HEAD>(&context)) else {
        return XDP_PASS;
    };
    // SAFETY: below `HEAD`.
    let (kind, port) = unsafe {
        (
            frame.add(12).cast::<u16>().read_unaligned(),
            frame.add(DESTINATION_PORT).cast::<u16>().read_unaligned(),
        )
    };
    if kind == 0x0800_u16.to_be() && wire.ends.contains(&u32::from(port)) {
        XDP_DROP
    } else {
        XDP_PASS
    }
}
