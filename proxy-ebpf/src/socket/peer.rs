//! What a socket believes that it talks to, kept with the socket (`SOCKET_PEER`).

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::generated::bpf_sk_storage_get,
};
use proxy_common::sockets::SocketPeer;

use super::{
    context::SocketCall,
    place::{Address, Place},
};
use crate::maps::{Backend, Family, SOCKET_PEER};

/// A translation: what the process asked for and what it got.
pub struct Translation<A> {
    /// Address and port (network order) of the frontend.
    pub frontend: (A, u16),
    /// The backend.
    pub backend: Backend<A>,
    /// Id of the backend.
    pub backend_id: u32,
    /// Id of the Service port.
    pub service: u32,
}

impl<A: Copy> Translation<A> {
    /// As it is kept with the socket.
    #[inline(always)]
    pub fn entry<F: Family<Address = A>>(&self) -> SocketPeer {
        SocketPeer {
            frontend: F::as_ipv6(self.frontend.0),
            backend: F::as_ipv6(self.backend.address),
            frontend_port: self.frontend.1,
            backend_port: self.backend.port,
            backend_id: self.backend_id,
            service: self.service,
        }
    }
}

/// Remembers a translation with the socket, in place of what was remembered. Without memory for it the
/// process sees the backend's address.
#[inline(always)]
pub fn record(call: &SocketCall, mut entry: SocketPeer) {
    let value = (&raw mut entry).cast();
    let flags = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: map, socket and value are what the helper takes.
    let stored = unsafe { bpf_sk_storage_get(map(), call.socket().cast(), value, flags) };
    if !stored.is_null() {
        // SAFETY: the storage lives as long as the program, and has this type.
        unsafe { *stored.cast::<SocketPeer>() = entry };
    }
}

/// Remembers a translation with the socket, unless it has one.
#[inline(always)]
pub fn record_first(call: &SocketCall, mut entry: SocketPeer) {
    let value = (&raw mut entry).cast();
    let flags = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: map, socket and value are what the helper takes. Its answer is of no use here.
    unsafe { bpf_sk_storage_get(map(), call.socket().cast(), value, flags) };
}

/// Forgets what the socket believes.
#[inline(always)]
pub fn forget(call: &SocketCall) {
    // SAFETY: the socket is that of the program's context. Nothing to delete is the usual case.
    unsafe { SOCKET_PEER.delete(call.socket()) }.ok();
}

/// What is remembered of a socket.
#[inline(always)]
pub fn of(socket: *mut bpf_sock) -> Option<&'static SocketPeer> {
    // SAFETY: map and socket are what the helper takes; without the flag nothing is made.
    let stored = unsafe { bpf_sk_storage_get(map(), socket.cast(), core::ptr::null_mut(), 0) };
    // SAFETY: the storage lives as long as the program, and has this type.
    unsafe { stored.cast::<SocketPeer>().as_ref() }
}

/// If the call is about the backend that the socket was given: puts the frontend in its place.
#[inline(always)]
pub fn restore<P: Place>(call: &SocketCall, address: Address<P>, port: u16) -> bool {
    let Some(peer) = of(call.socket()) else {
        return false;
    };
    if peer.backend_port != port || peer.backend != P::Family::as_ipv6(address) {
        return false;
    }
    P::write(call, P::Family::from_ipv6(peer.frontend));
    call.set_port(peer.frontend_port);
    true
}

#[inline(always)]
fn map() -> *mut c_void {
    (&raw const SOCKET_PEER).cast_mut().cast()
}
