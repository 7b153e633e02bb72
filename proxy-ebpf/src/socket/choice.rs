//! Which backend a socket call gets.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use proxy_common::{
    address::{TCP, UDP},
    backends::SlotKey,
    frontends::{BackendSet, FLAG_INTERNAL_DROP, Frontend},
    node::{ADDRESS_HOST_PORT, ADDRESS_NODE_PORT, NODE_SOCKET_BALANCING, NodeConfig},
};

use super::{affinity, context::SocketCall};
use crate::{
    frontend::find,
    maps::{BACKEND_SLOTS, Backend, Family, NODE_CONFIG},
};

/// What is to become of a socket call.
pub enum Choice<A> {
    /// Nothing of ours.
    Pass,
    /// A frontend that nobody serves: the caller is told at once.
    Refuse,
    /// The backend, its id and the id of the Service port.
    Backend(Backend<A>, u32, u32),
}

/// How slots are spread over callers that have no affinity.
#[derive(Clone, Copy)]
pub enum Spread {
    /// Anew for each call.
    Random,
    /// The same for all calls of a socket, while the set has the same size: an unconnected UDP socket keeps
    /// to its backend.
    BySocket,
}

/// Chooses for a call to an address and port (network order).
#[inline(always)]
pub fn choose<F: Family>(
    call: &SocketCall,
    address: F::Address,
    port: u16,
    spread: Spread,
) -> Choice<F::Address> {
    let protocol = call.protocol();
    if protocol != TCP && protocol != UDP {
        return Choice::Pass;
    }
    let Some(config) = NODE_CONFIG.get(0) else {
        return Choice::Pass;
    };
    if config.flags & NODE_SOCKET_BALANCING == 0 {
        return Choice::Pass;
    }
    match frontend::<F>(call, config, address, port, protocol) {
        Some(frontend) => serve::<F>(call, frontend, spread),
        None => Choice::Pass,
    }
}

/// The frontend that an address means to a caller. Loopback is this node for processes in the node's own
/// namespace only, and `connect` takes the unspecified address for loopback.
#[inline(always)]
fn frontend<F: Family>(
    call: &SocketCall,
    config: &NodeConfig,
    address: F::Address,
    port: u16,
    protocol: u8,
) -> Option<&'static Frontend> {
    let address = if address == F::UNSPECIFIED {
        F::LOOPBACK
    } else {
        address
    };
    find::<F>(address, port, protocol, || {
        if !F::is_loopback(address) {
            F::node_address(address)
        } else if config.netns_cookie != 0 && call.netns_cookie() == config.netns_cookie {
            ADDRESS_NODE_PORT | ADDRESS_HOST_PORT
        } else {
            0
        }
    })
}

#[inline(always)]
fn serve<F: Family>(call: &SocketCall, frontend: &Frontend, spread: Spread) -> Choice<F::Address> {
    let set = frontend.internal;
    if set.count == 0 {
        // What is to be dropped goes on untranslated, and the packet path drops it.
        return if frontend.flags & FLAG_INTERNAL_DROP == 0 {
            Choice::Refuse
        } else {
            Choice::Pass
        };
    }
    let sticky = frontend.affinity_seconds != 0;
    if sticky
        && let Some(id) = affinity::find(call, frontend)
        && let Some(backend) = F::backend(id)
    {
        return Choice::Backend(backend, id, frontend.service);
    }
    let Some((id, backend)) = pick::<F>(call, set, spread) else {
        return Choice::Pass;
    };
    if sticky {
        affinity::record(call, frontend.service, id);
    }
    Choice::Backend(backend, id, frontend.service)
}

/// A backend of a set. A slot that is just being edited gives way to slot 0, which every set has.
#[inline(always)]
fn pick<F: Family>(
    call: &SocketCall,
    set: BackendSet,
    spread: Spread,
) -> Option<(u32, Backend<F::Address>)> {
    let number = match spread {
        // SAFETY: the helper takes nothing.
        Spread::Random => unsafe { bpf_get_prandom_u32() },
        Spread::BySocket => call.cookie() as u32,
    };
    let chosen = slot::<F>(set.id, number % set.count);
    if chosen.is_some() {
        chosen
    } else {
        slot::<F>(set.id, 0)
    }
}

#[inline(always)]
fn slot<F: Family>(set: u32, index: u32) -> Option<(u32, Backend<F::Address>)> {
    // SAFETY: an id is one word, and a stale one is harmless.
    let id = *unsafe { BACKEND_SLOTS.get(SlotKey { set, index }) }?;
    Some((id, F::backend(id)?))
}
