//! What undoes a translation: `recvfrom(2)`, `getpeername(2)`, and the end of a socket.

use aya_ebpf::{
    EbpfContext as _, bindings::bpf_sock, helpers::bpf_get_socket_cookie, programs::SockContext,
};
use proxy_common::address::UDP;

use super::{
    context::SocketCall,
    peer,
    place::{Place, is_mapped},
};
use crate::maps::{Family as _, V4, V6};

/// Shows the frontend as the sender of a datagram from a backend.
#[inline(always)]
pub fn receive<P: Place>(call: &SocketCall) {
    let (address, port) = (P::read(call), call.port());
    // A socket may send to several frontends of one backend; the last one it sent to counts.
    if let Some((frontend, frontend_port)) = P::Family::reverse(call.cookie(), address, port) {
        P::write(call, frontend);
        call.set_port(frontend_port);
        return;
    }
    peer::restore::<P>(call, address, port);
}

/// Shows the frontend as the peer of a connected socket.
#[inline(always)]
pub fn peer_name<P: Place>(call: &SocketCall) {
    let (address, port) = (P::read(call), call.port());
    peer::restore::<P>(call, address, port);
}

/// Removes what `SOCKET_REVERSE*` holds for a socket that is closed.
#[inline(always)]
pub fn release(context: &SockContext) {
    let socket: *mut bpf_sock = context.sock;
    // SAFETY: the context is valid for as long as the program runs.
    let protocol = unsafe { core::ptr::read_volatile(&raw const (*socket).protocol) };
    if protocol != u32::from(UDP) {
        return;
    }
    let Some(peer) = peer::of(socket) else {
        return;
    };
    // SAFETY: the helper takes the program's context.
    let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    if is_mapped(peer.backend) {
        V4::forget_reverse(cookie, peer.backend[3], peer.backend_port);
    } else {
        V6::forget_reverse(cookie, peer.backend, peer.backend_port);
    }
}
