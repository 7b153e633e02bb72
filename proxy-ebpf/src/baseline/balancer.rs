//! The least that a balancer in front of many servers does with a packet: a look-up of the address that it serves, a hash of the
//! flow, a place in a Maglev table, a server, and IPv4 in IPv4 (RFC 2003). No flows, no policy, no way but back.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::XdpContext;

use super::frame::{BACK, FAILED, head, turn_ends};

/// Places of a table.
const PLACES: u32 = 16_381;
/// Ethernet and IPv4.
const BEFORE: usize = 34;
/// What is put in front.
const OUTER: i32 = 20;

/// What is served: destination, port, protocol.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Vip {
    /// Network order.
    pub address: u32,
    /// Network order.
    pub port: u16,
    /// Of IP.
    pub protocol: u16,
}

#[map]
static VIPS: HashMap<Vip, u32> = HashMap::with_max_entries(16_384, 0);
#[map]
static PLACES_OF: Array<u32> = Array::with_max_entries(PLACES, 0);
#[map]
static SERVERS: Array<u32> = Array::with_max_entries(1024, 0);

/// The program.
#[xdp(frags)]
pub fn balance(context: XdpContext) -> u32 {
    match run(&context) {
        Some(()) => BACK,
        None => FAILED,
    }
}

#[inline(always)]
fn run(context: &XdpContext) -> Option<()> {
    let frame = head::<{ BEFORE + 4 }>(context)?;
    // SAFETY: within the frame, whose words are not aligned.
    let (length, protocol, source, destination, ports) = unsafe {
        (
            frame.add(16).cast::<u16>().read_unaligned(),
            frame.add(23).read(),
            frame.add(26).cast::<u32>().read_unaligned(),
            frame.add(30).cast::<u32>().read_unaligned(),
            frame.add(34).cast::<u32>().read_unaligned(),
        )
    };
    let vip = Vip {
        address: destination,
        port: (ports >> 16) as u16,
        protocol: u16::from(protocol),
    };
    // SAFETY: values are not changed while the bench runs.
    let first = unsafe { VIPS.get(vip) }?;
    let place = hash(source, ports) % PLACES;
    let server = PLACES_OF.get(place)?;
    let server = *SERVERS.get((server + first) & 1023)?;
    // SAFETY: a helper on the context.
    if unsafe { bpf_xdp_adjust_head(context.ctx, -OUTER) } != 0 {
        return None;
    }
    surround(
        context,
        u16::from_be(length) + OUTER as u16,
        [destination, server],
    )
}

/// Jenkins' hash of two words, as kernels have it.
#[inline(always)]
const fn hash(a: u32, b: u32) -> u32 {
    const SEED: u32 = 0xdead_beef + (2 << 2);
    let (mut a, mut b, mut c) = (a.wrapping_add(SEED), b.wrapping_add(SEED), SEED);
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[inline(always)]
fn surround(context: &XdpContext, length: u16, ends: [u32; 2]) -> Option<()> {
    let frame = head::<{ BEFORE + 20 }>(context)?;
    let mut link = MaybeUninit::<[u16; 7]>::uninit();
    let [high, low] = length.to_be_bytes();
    let mut header = [
        u32::from_ne_bytes([0x45, 0, high, low]),
        0,
        u32::from_ne_bytes([64, 4, 0, 0]),
        ends[0],
        ends[1],
    ];
    let mut sum = 0;
    let mut word = 0;
    while word < header.len() {
        sum += (header[word] & 0xffff) + (header[word] >> 16);
        word += 1;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    header[2] |= (!sum & 0xffff) << 16;
    // SAFETY: within the frame; the link's header is read whole before it is written.
    unsafe {
        let link = link.as_mut_ptr();
        link.write(frame.add(20).cast::<[u16; 7]>().read_unaligned());
        frame.cast::<[u16; 7]>().write_unaligned(link.read());
        let mut word = 0;
        while word < header.len() {
            let to = frame.add(14 + 4 * word).cast::<u32>();
            to.write_unaligned(header[word]);
            word += 1;
        }
    }
    turn_ends(frame);
    Some(())
}
