//! FIB cache: the ways out of the node that were used in this second, per CPU: a look-up in the kernel's tables costs as much
//! as all else that is done for a packet of a known flow. A changed route is followed a second later at most;
//! neighbours are not remembered here, but asked for by `bpf_redirect_neigh`.

use aya_ebpf::bindings::{bpf_fib_lookup as FibLookup, bpf_redir_neigh as Neighbour};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::helpers::bpf_fib_lookup;
use aya_ebpf::macros::btf_map;
use proxy_common::node::NODE_ENCRYPTS;
use proxy_common::tunnel::{TUNNEL_CLOSED, TUNNEL_ENCRYPTED};

use super::{node, tunnel};
use crate::machine::frame::Buffer;
use crate::machine::tunnel::TunnelKey;
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

/// The way of a packet that came by the hook's interface, and its number; none if there is no route.
#[inline(always)]
pub fn find<B: Buffer, F: Family>(
    buffer: B,
    between: &Between<F::Address>,
) -> Option<(&'static NextHop, u32)> {
    let asked = NEXT_HOP_ASKED.get_ptr_mut(0)?;
    // SAFETY: the map's own memory; each CPU has its own, and programs on one CPU run one after the other.
    let asked = unsafe { &mut *asked };
    asked.question = Question {
        destination: F::as_ipv6(between.destination),
        source: F::as_ipv6(between.source),
        ifindex: buffer.ifindex(),
        protocol: u32::from(between.protocol) | u32::from(between.bare) << 8,
        now: between.now,
    };
    let hash = asked.question.destination[3].wrapping_mul(0x9e37_79b1)
        ^ asked.question.source[3].wrapping_mul(0x85eb_ca77);
    let number = hash >> (u32::BITS - BITS);
    let hop = NEXT_HOPS.get_ptr_mut(number)?;
    // SAFETY: as above.
    let hop = unsafe { &mut *hop };
    // The kernel may know the neighbour by now, and only XDP waits for that.
    let is_of_use = !B::XDP || hop.resolved | hop.tunnel != 0;
    if !is_of_use || !same(&hop.question, &asked.question) {
        // Not to be taken for an answer should the tables have none.
        hop.question.now = 0;
        if !by_tunnel::<F>(between, &mut asked.address, hop) {
            look_up::<B, F>(buffer, between, &mut asked.fib, hop)?;
        }
        // SAFETY: two values made of words.
        unsafe { copy(&raw const asked.question, &raw mut hop.question) };
    }
    Some((hop, number))
}

/// Whether the tunnel or the device that encrypts is the way, or there is none; into `hop` then. Nothing is looked up on nodes that
/// have neither.
#[inline(always)]
fn by_tunnel<F: Family>(
    between: &Between<F::Address>,
    room: &mut [u32; 5],
    hop: &mut NextHop,
) -> bool {
    hop.tunnel = 0;
    let Some(config) = node::config() else {
        return false;
    };
    let leads = config.tunnel_device | config.flags & NODE_ENCRYPTS;
    if leads == 0 || between.bare {
        return false;
    }
    let Some(peer) = tunnel::leads::<F>(&between.source, &between.destination, room) else {
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
fn look_up<B: Buffer, F: Family>(
    buffer: B,
    between: &Between<F::Address>,
    fib: &mut FibLookup,
    hop: &mut NextHop,
) -> Option<()> {
    fib.family = if F::IPV6 { AF_INET6 } else { AF_INET };
    fib.l4_protocol = between.protocol;
    fib.sport = 0;
    fib.dport = 0;
    fib.__bindgen_anon_1.tot_len = FITS;
    fib.__bindgen_anon_2.flowinfo = 0;
    fib.ifindex = buffer.ifindex();
    // SAFETY: the unions are sixteen bytes wide, as wide as the widest address.
    unsafe {
        (&raw mut fib.__bindgen_anon_3)
            .cast::<F::Address>()
            .write(between.source);
        (&raw mut fib.__bindgen_anon_4)
            .cast::<F::Address>()
            .write(between.destination);
    }
    // SAFETY: the helper reads and writes all of `fib`.
    let result = unsafe { bpf_fib_lookup(buffer.context(), &raw mut *fib, FIB_SIZE, 0) };
    if result != FIB_SUCCESS && result != FIB_NO_NEIGHBOUR {
        return None;
    }
    hop.ifindex = fib.ifindex;
    // SAFETY: both are 16 bits wide.
    let mtu = unsafe { fib.__bindgen_anon_1.mtu_result };
    hop.mtu = if result == FIB_SUCCESS && mtu != FITS {
        u32::from(mtu)
    } else {
        0
    };
    hop.resolved = u32::from(result == FIB_SUCCESS);
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
    hop.kernels = u32::from(is_kernels_turn(hop, between.now));
    hop.neighbour.nh_family = u32::from(fib.family);
    // SAFETY: both unions hold sixteen bytes, in words.
    unsafe {
        copy(
            (&raw const fib.__bindgen_anon_4).cast::<[u32; 4]>(),
            (&raw mut hop.neighbour.__bindgen_anon_1).cast(),
        );
    }
    Some(())
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
