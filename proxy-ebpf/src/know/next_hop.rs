//! FIB cache: the ways out of the node that were used in this second, per CPU: a look-up in the kernel's tables costs as much
//! as all else that is done for a packet of a known flow. A changed route is followed a second later at most;
//! neighbours are not remembered here, but asked for by `bpf_redirect_neigh`.

use aya_ebpf::bindings::{bpf_fib_lookup as FibLookup, bpf_redir_neigh as Neighbour};
use aya_ebpf::btf_maps::{PerCpuArray, lpm_trie::Key};
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::macros::btf_map;
use proxy_common::node::{NODE_ENCRYPTS, NODE_HAS_ROUTE_MTUS};
use proxy_common::tunnel::{TUNNEL_CLOSED, TUNNEL_ENCRYPTED};

use super::{node, tunnel};
use crate::machine::frame::Buffer;
use crate::machine::global::global;
use crate::machine::tunnel::TunnelKey;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict};
use crate::machine::words::{copy, same};
use crate::maps::Family;

const FIB_SIZE: i32 = 64;
const _: () = assert!(size_of::<FibLookup>() == 64);
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const FIB_SUCCESS: i64 = 0;
const FIB_NO_NEIGHBOUR: i64 = 7;
/// A length that fits everywhere: the kernel then says for what there is room, by the route and not only the device
/// (<https://elixir.bootlin.com/linux/v6.1/source/net/core/filter.c#L5689>).
const FITS: u16 = 1;
/// A length that fits nowhere: the kernel says the same before it looks for the neighbour.
const FITS_NOWHERE: u16 = u16::MAX;
const FIB_TOO_BIG: i64 = 8;

/// Two to this power are remembered.
const BITS: u32 = 9;

/// What a way depends on.
#[repr(C)]
#[derive(Clone, Copy)]
struct Question {
    destination: [u32; 4],
    source: [u32; 4],
    ifindex: u32,
    /// Protocol, and whether never by the tunnel.
    protocol: u32,
    /// Seconds since boot.
    now: u32,
}

/// A way out of the node.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NextHop {
    question: Question,
    /// The interface.
    pub ifindex: u32,
    /// The length of a packet that fits the way; 0 if the kernel did not say.
    pub mtu: u32,
    /// The next hop.
    pub neighbour: Neighbour,
    /// Hardware addresses of the next hop and of the interface, for whoever sends without the kernel's help.
    pub ends: Ends,
    /// 1 if the kernel knew the next hop's hardware address.
    pub resolved: u32,
    /// 1 if the kernel must send a packet this way before others do ([`is_kernels`]).
    kernels: u32,
    /// `TUNNEL_*` bits of the node to which the tunnel leads, or encryption; 0 if neither is the way. `TUNNEL_CLOSED`: nothing is.
    pub tunnel: u32,
    /// Where it leads.
    pub key: TunnelKey,
}

/// Hardware addresses as a frame begins with them, destination first.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The receiver's, then the sender's.
    pub words: [u32; 3],
}

impl Ends {
    /// Of a receiver and a sender.
    pub const fn of(to: [u8; 6], from: [u8; 6]) -> Self {
        Self {
            words: [
                u32::from_ne_bytes([to[0], to[1], to[2], to[3]]),
                u32::from_ne_bytes([to[4], to[5], from[0], from[1]]),
                u32::from_ne_bytes([from[2], from[3], from[4], from[5]]),
            ],
        }
    }
}

/// When the kernel has sent to a neighbour, or was given a packet for it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Seen {
    /// Interface and last half of the hardware address.
    who: [u32; 2],
    /// Seconds since boot; 0 for nobody.
    at: u32,
}

/// Seconds for which the kernel need not hear of a neighbour.
const UNSEEN: u32 = 10;
/// How many neighbours are remembered.
const NEIGHBOURS: u32 = 64;

/// Neighbours, by a hash of their hardware addresses. Private to one load of the programs.
#[btf_map]
pub static NEIGHBOURS_SEEN: PerCpuArray<Seen, { NEIGHBOURS as usize }> = PerCpuArray::new();

/// The ways, by a hash of source and destination. Private to one load of the programs.
#[btf_map]
pub static NEXT_HOPS: PerCpuArray<NextHop, { 1 << BITS }> = PerCpuArray::new();

/// A question in hand.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Asked {
    question: Question,
    /// Length and address, as tries are asked.
    address: [u32; 5],
    fib: FibLookup,
}

/// What is asked, of us and of the kernel: too large for the stack. Private to one load of the programs.
#[btf_map]
pub static NEXT_HOP_ASKED: PerCpuArray<Asked, 1> = PerCpuArray::new();

/// Whose way is asked for.
#[derive(Clone, Copy)]
pub struct Between<A> {
    /// Source, by which routes may be chosen too.
    pub source: A,
    /// Destination.
    pub destination: A,
    /// IP protocol number.
    pub protocol: u8,
    /// Seconds since boot.
    pub now: u32,
    /// As the routing tables have it, whatever goes by the tunnel.
    pub bare: bool,
}

/// The way with a number that [`find`] gave to this packet.
#[inline(always)]
pub fn get(number: u32) -> Option<&'static NextHop> {
    NEXT_HOPS.get(number)
}

/// Of `Question::protocol`: [`Between::bare`].
const BARE: u32 = 1 << 8;

/// The question in hand. Each CPU has its own, and programs on one CPU run one after the other.
#[inline(always)]
fn asked() -> Option<&'static mut Asked> {
    let asked = NEXT_HOP_ASKED.get_ptr_mut(0)?;
    // SAFETY: the map's own memory; as above.
    Some(unsafe { &mut *asked })
}

#[inline(always)]
fn hop_at(number: u32) -> Option<&'static mut NextHop> {
    let hop = NEXT_HOPS.get_ptr_mut(number)?;
    // SAFETY: as above.
    Some(unsafe { &mut *hop })
}

/// The way of a packet that came by the hook's interface, and its number; none if there is no route.
#[inline(always)]
pub fn find<B: Buffer, F: Family>(
    buffer: B,
    between: &Between<F::Address>,
) -> Option<(&'static NextHop, u32)> {
    let asked = asked()?;
    asked.question = Question {
        destination: F::as_ipv6(between.destination),
        source: F::as_ipv6(between.source),
        ifindex: buffer.ifindex(),
        protocol: u32::from(between.protocol) | if between.bare { BARE } else { 0 },
        now: between.now,
    };
    let hash = asked.question.destination[3].wrapping_mul(0x9e37_79b1)
        ^ asked.question.source[3].wrapping_mul(0x85eb_ca77);
    let number = hash >> (u32::BITS - BITS);
    let hop = hop_at(number)?;
    // The kernel may know the neighbour by now, and only XDP waits for that.
    let is_of_use = !B::XDP || hop.resolved | hop.tunnel != 0;
    if (!is_of_use || !same(&hop.question, &asked.question))
        && fetch::<B, F>(buffer, number) != CONTINUE
    {
        return None;
    }
    Some((hop, number))
}

global! {
    /// Finds what the question in hand asks for, into the way with this number. `NEXT`: there is no route.
    fn fetch(buffer; number) = answer
}

#[inline(always)]
fn answer<B: Buffer, F: Family>(buffer: B, number: u32) -> Verdict {
    let (Some(asked), Some(hop)) = (asked(), hop_at(number)) else {
        return NEXT;
    };
    // Not to be taken for an answer should the tables have none.
    hop.question.now = 0;
    if !by_tunnel::<F>(asked, hop) && look_up::<B, F>(buffer, asked, hop).is_none() {
        return NEXT;
    }
    // SAFETY: two values made of words.
    unsafe { copy(&raw const asked.question, &raw mut hop.question) };
    CONTINUE
}

/// The address of this family that stands mapped to IPv6: its last words.
#[inline(always)]
const fn own<F: Family>(mapped: &[u32; 4]) -> *const F::Address {
    let first = mapped.len() - size_of::<F::Address>() / 4;
    (&raw const *mapped)
        .cast::<u32>()
        .wrapping_add(first)
        .cast()
}

/// Whether the tunnel or the device that encrypts is the way, or there is none; into `hop` then. Nothing is looked up on nodes that
/// have neither.
#[inline(always)]
fn by_tunnel<F: Family>(asked: &mut Asked, hop: &mut NextHop) -> bool {
    hop.tunnel = 0;
    let Some(config) = node::config() else {
        return false;
    };
    let leads = config.tunnel_device | config.flags & NODE_ENCRYPTS;
    if leads == 0 || asked.question.protocol & BARE != 0 {
        return false;
    }
    // SAFETY: addresses of this family.
    let (source, destination) = unsafe {
        (
            &*own::<F>(&asked.question.source),
            &*own::<F>(&asked.question.destination),
        )
    };
    let Some(peer) = tunnel::leads::<F>(source, destination, &mut asked.address) else {
        return false;
    };
    if peer.flags & TUNNEL_CLOSED != 0 {
        hop.ifindex = 0;
        hop.tunnel = TUNNEL_CLOSED;
        return true;
    }
    let Some((device, mtu)) = tunnel::device::<F>(peer, config) else {
        return false;
    };
    hop.ifindex = device;
    hop.mtu = mtu;
    hop.tunnel = peer.flags;
    if peer.flags & TUNNEL_ENCRYPTED == 0 {
        tunnel::fill(&mut hop.key, peer, config);
    }
    true
}

/// Asks the kernel's tables, as if the packet had come by this interface, also if the host sent it:
/// `BPF_FIB_LOOKUP_OUTPUT` would find no route that leads elsewhere.
#[inline(always)]
fn look_up<B: Buffer, F: Family>(buffer: B, asked: &mut Asked, hop: &mut NextHop) -> Option<()> {
    let result = ask::<B, F>(buffer, asked, FITS);
    if result != FIB_SUCCESS && result != FIB_NO_NEIGHBOUR {
        return None;
    }
    take(&asked.fib, hop, result == FIB_SUCCESS, asked.question.now);
    // Of a neighbour that it has yet to find the kernel does not say how much room there is on the way to it.
    if result == FIB_NO_NEIGHBOUR && ask::<B, F>(buffer, asked, FITS_NOWHERE) == FIB_TOO_BIG {
        hop.mtu = room(&asked.fib);
    }
    if node::is_set(NODE_HAS_ROUTE_MTUS) {
        let mtu = route_mtu::<F>(asked);
        if mtu != 0 && (hop.mtu == 0 || mtu < hop.mtu) {
            hop.mtu = mtu;
        }
    }
    Some(())
}

/// The MTU that the route to an address has; 0 for none. The kernel tells that of the device, but for routes that lock theirs
/// (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/route.c#L1410>), though its own stack goes by all.
#[inline(always)]
fn route_mtu<F: Family>(asked: &mut Asked) -> u32 {
    let room = &mut asked.address;
    room[0] = 8 * size_of::<F::Address>() as u32;
    // SAFETY: four words behind the first, of which the address takes one or all; a key is a length and an address.
    let mtu = unsafe {
        copy(
            own::<F>(&asked.question.destination),
            (&raw mut room[1]).cast(),
        );
        F::route_mtus().get(&*(&raw const *room).cast::<Key<F::Address>>())
    };
    mtu.map_or(0, |mtu| *mtu)
}

/// What the kernel says of a packet of a length.
#[inline(always)]
fn ask<B: Buffer, F: Family>(buffer: B, asked: &mut Asked, length: u16) -> i64 {
    let (question, fib) = (&asked.question, &mut asked.fib);
    fib.family = if F::IPV6 { AF_INET6 } else { AF_INET };
    fib.l4_protocol = question.protocol as u8;
    fib.sport = 0;
    fib.dport = 0;
    fib.__bindgen_anon_1.tot_len = length;
    fib.__bindgen_anon_2.flowinfo = 0;
    fib.ifindex = question.ifindex;
    // SAFETY: the unions are sixteen bytes wide, as wide as the widest address.
    unsafe {
        copy(
            own::<F>(&question.source),
            (&raw mut fib.__bindgen_anon_3).cast(),
        );
        copy(
            own::<F>(&question.destination),
            (&raw mut fib.__bindgen_anon_4).cast(),
        );
    }
    // SAFETY: the helper reads and writes all of `fib`.
    unsafe { bpf_fib_lookup(buffer.context(), &raw mut *fib, FIB_SIZE, 0) }
}

/// The length of a packet for which there is room.
#[inline(always)]
fn room(fib: &FibLookup) -> u32 {
    // SAFETY: both are 16 bits wide.
    let mtu = unsafe { fib.__bindgen_anon_1.mtu_result };
    if mtu == FITS { 0 } else { u32::from(mtu) }
}

/// What the kernel has said of a way.
#[inline(always)]
fn take(fib: &FibLookup, hop: &mut NextHop, resolved: bool, now: u32) {
    hop.ifindex = fib.ifindex;
    hop.mtu = if resolved { room(fib) } else { 0 };
    hop.resolved = u32::from(resolved);
    // SAFETY: the two addresses, sender's first, are the last 12 bytes of the structure, aligned to words.
    let [a, b, c] = unsafe {
        (&raw const *fib)
            .cast::<u32>()
            .add(FIB_SIZE as usize / 4 - 3)
            .cast::<[u32; 3]>()
            .read_volatile()
    };
    // Turned round: six bytes are a word and a half.
    hop.ends.words = [b >> 16 | c << 16, c >> 16 | a << 16, a >> 16 | b << 16];
    hop.kernels = u32::from(is_kernels_turn(hop, now));
    hop.neighbour.nh_family = u32::from(fib.family);
    // SAFETY: both unions hold sixteen bytes, in words.
    unsafe {
        copy(
            (&raw const fib.__bindgen_anon_4).cast::<[u32; 4]>(),
            (&raw mut hop.neighbour.__bindgen_anon_1).cast(),
        );
    }
}

/// Whether the kernel should send a packet to this neighbour, by which it finds out whether that is still there and what its
/// address is: what XDP sends it does not see, and would take the neighbour for unused for ever.
#[inline(always)]
fn is_kernels_turn(hop: &NextHop, now: u32) -> bool {
    let who = [
        hop.ifindex,
        hop.ends.words[0] >> 16 | hop.ends.words[1] << 16,
    ];
    let number = who[1].wrapping_mul(0x9e37_79b1) >> (u32::BITS - NEIGHBOURS.trailing_zeros());
    let Some(seen) = NEIGHBOURS_SEEN.get_ptr_mut(number) else {
        return false;
    };
    // SAFETY: the map's own memory; each CPU has its own.
    let seen = unsafe { &mut *seen };
    let is_known = seen.who == who;
    if is_known && now < seen.at + UNSEEN {
        return false;
    }
    // Of one that was never seen the kernel has just told the address.
    let is_first = seen.at == 0;
    *seen = Seen { who, at: now };
    !is_first
}

/// Whether the packet is to go by the kernel, which learns by it whether the neighbour is still there. Once.
#[inline(always)]
pub fn is_kernels(number: u32) -> bool {
    let Some(hop) = NEXT_HOPS.get_ptr_mut(number) else {
        return false;
    };
    // SAFETY: the map's own memory; each CPU has its own.
    let hop = unsafe { &mut *hop };
    let kernels = hop.kernels != 0;
    if kernels {
        hop.kernels = 0;
    }
    kernels
}
