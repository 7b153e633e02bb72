//! `connect(2)`.

use super::{
    choice::{Choice, choose},
    context::SocketCall,
    peer::{self, Translation},
    place::Place,
};

/// Connects to a backend in place of a frontend. False if the call is to fail with ECONNREFUSED.
#[inline(always)]
pub fn connect<P: Place>(call: &SocketCall) -> bool {
    let frontend = (P::read(call), call.port());
    match choose::<P::Family>(call, frontend.0, frontend.1) {
        Choice::Pass => {
            // A socket that is connected again may have been to a frontend before.
            peer::forget(call);
            true
        }
        Choice::Refuse => false,
        Choice::Backend(backend, backend_id, service) => {
            let translation = Translation {
                frontend,
                backend,
                backend_id,
                service,
            };
            peer::record(call, translation.entry::<P::Family>());
            P::write(call, backend.address);
            call.set_port(backend.port);
            true
        }
    }
}
