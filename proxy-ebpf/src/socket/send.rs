//! `sendto(2)` and `sendmsg(2)` with an address, on UDP sockets.

use super::{
    choice::{Choice, Spread, choose},
    context::SocketCall,
    peer::{self, Translation},
    place::{Address, Place},
};
use crate::maps::Family as _;

/// Sends to a backend in place of a frontend. False if the call is to fail with ECONNREFUSED.
#[inline(always)]
pub fn send<P: Place>(call: &SocketCall) -> bool {
    let frontend = (P::read(call), call.port());
    match choose::<P::Family>(call, frontend.0, frontend.1, Spread::BySocket) {
        Choice::Pass => true,
        Choice::Refuse => false,
        Choice::Backend(backend, backend_id, service) => {
            remember::<P>(call, (backend.address, backend.port), frontend);
            let translation = Translation {
                frontend,
                backend,
                backend_id,
                service,
            };
            // Most sockets talk to one Service: what is kept here tells `sock_release` what to remove.
            peer::record_first(call, translation.entry::<P::Family>());
            P::write(call, backend.address);
            call.set_port(backend.port);
            true
        }
    }
}

/// A lookup costs a fraction of a write, and most sockets send to the same place again.
#[inline(always)]
fn remember<P: Place>(call: &SocketCall, sender: (Address<P>, u16), frontend: (Address<P>, u16)) {
    let cookie = call.cookie();
    if P::Family::reverse(cookie, sender.0, sender.1) != Some(frontend) {
        P::Family::remember_reverse(cookie, sender, frontend);
    }
}
