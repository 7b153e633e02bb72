//! Which backend a socket call gets.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use proxy_common::{
    address::TCP,
    backends::Backend,
    frontends::{FLAG_INTERNAL_DROP, FLAG_SOURCES, Frontend},
    node::{ADDRESS_HOST_PORT, ADDRESS_NODE_PORT, NODE_SOCKET_BALANCING, NodeConfig},
};

use super::{affinity, context::SocketCall};
use crate::{
    know::{frontend::find, node, service::slot},
    maps::{Family, NODE_CONFIG},
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

/// Chooses for a call to an address and port (network order).
#[inline(always)]
pub fn choose<F: Family>(call: &SocketCall, address: F::Address, port: u16) -> Choice<F::Address> {
    if call.protocol() != TCP {
        return Choice::Pass;
    }
    let Some(config) = NODE_CONFIG.get(0) else {
        return Choice::Pass;
    };
    if config.flags & NODE_SOCKET_BALANCING == 0 {
        return Choice::Pass;
    }
    match frontend::<F>(call, config, address, port) {
        Some(frontend) => serve::<F>(call, config, frontend),
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
) -> Option<&'static Frontend> {
    let address = if address == F::UNSPECIFIED {
        F::LOOPBACK
    } else {
        address
    };
    find::<F>(address, port, TCP, || {
        if !F::is_loopback(address) {
            node::any_address_of_socket::<F>(&address)
        } else if config.netns_cookie != 0 && call.netns_cookie() == config.netns_cookie {
            ADDRESS_NODE_PORT | ADDRESS_HOST_PORT
        } else {
            0
        }
    })
}

#[inline(always)]
fn serve<F: Family>(
    call: &SocketCall,
    config: &NodeConfig,
    frontend: &Frontend,
) -> Choice<F::Address> {
    if frontend.flags & FLAG_SOURCES != 0 {
        // The source is not chosen yet: the packet path sees it.
        return Choice::Pass;
    }
    if affinity::is_by_packet(call, config) {
        return Choice::Pass;
    }
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
        && let Some(id) = affinity::find::<F>(call, config, frontend)
        && let Some(backend) = backend::<F>(id)
    {
        return Choice::Backend(backend, id, frontend.service);
    }
    // SAFETY: the helper takes nothing.
    let number = unsafe { bpf_get_prandom_u32() };
    // A slot that is just being edited gives way to the first one, which every set has.
    let id = slot(set.id, number % set.count).or_else(|| slot(set.id, 0));
    let Some((id, backend)) = id.and_then(|id| Some((id, backend::<F>(id)?))) else {
        return Choice::Pass;
    };
    if sticky {
        affinity::record::<F>(call, config, frontend.service, id);
    }
    Choice::Backend(backend, id, frontend.service)
}

#[inline(always)]
fn backend<F: Family>(id: u32) -> Option<Backend<F::Address>> {
    // SAFETY: read at once; values are replaced whole.
    unsafe { F::backends().get(id) }.copied()
}
