//! What a socket believes that it talks to, kept with the socket (`SOCKET_PEER`).

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::generated::bpf_sk_storage_get,
};
use proxy_common::{backends::Backend, sockets::SocketPeer};

use super::{context::SocketCall, place::Place};
use crate::maps::{Family, SOCKET_PEER};

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

/// Forgets what the socket believes.
#[inline(always)]
pub fn forget(call: &SocketCall) {
    // SAFETY: the socket is that of the program's context. Nothing to delete is the usual case.
    unsafe { SOCKET_PEER.delete(call.socket()) }.ok();
}

/// What is remembered of a socket.
#[inline(always)]
fn of(socket: *mut bpf_sock) -> Option<&'static SocketPeer> {
    // SAFETY: map and socket are what the helper takes; without the flag nothing is made.
    let stored = unsafe { bpf_sk_storage_get(map(), socket.cast(), core::ptr::null_mut(), 0) };
    // SAFETY: the storage lives as long as the program, and has this type.
    unsafe { stored.cast::<SocketPeer>().as_ref() }
}

/// Shows the frontend as the peer of a socket that was connected to it.
#[inline(always)]
pub fn peer_name<P: Place>(call: &SocketCall) {
    let Some(peer) = of(call.socket()) else {
        return;
    };
    let address = P::Family::as_ipv6(P::read(call));
    if peer.backend_port == call.port() && peer.backend == address {
        P::write(call, P::Family::from_ipv6(peer.frontend));
        call.set_port(peer.frontend_port);
    }
}

#[inline(always)]
fn map() -> *mut c_void {
    (&raw const SOCKET_PEER).cast_mut().cast()
}
