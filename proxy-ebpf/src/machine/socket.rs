//! Sockets of this machine, by the packets that they are given.

use core::ptr::read_volatile;

use aya_ebpf::helpers::{bpf_sk_lookup_udp, bpf_sk_release};

use super::frame::Buffer;

/// The network namespace in which the program runs (`BPF_F_CURRENT_NETNS`).
const HERE: u64 = u64::MAX;
/// `TCP_ESTABLISHED`, which a socket of datagrams is in while it is connected.
const CONNECTED: u32 = 1;

/// Whether a socket of datagrams is connected to the sender of a packet in hand and receives it. `ends`: addresses and ports of a
/// packet, sender's first, as on the wire; on the stack.
#[inline(always)]
pub fn is_connected<B: Buffer, T: Copy>(buffer: B, ends: &mut T) -> bool {
    let size = size_of::<T>() as u32;
    // SAFETY: the helper reads `size` bytes of `ends`; what it gives is released below.
    unsafe {
        let socket = bpf_sk_lookup_udp(buffer.context(), (&raw mut *ends).cast(), size, HERE, 0);
        if socket.is_null() {
            return false;
        }
        let state = read_volatile(&raw const (*socket).state);
        bpf_sk_release(socket.cast());
        state == CONNECTED
    }
}
