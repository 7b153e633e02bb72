//! Pods of this node.

use proxy_common::endpoints::Endpoint;

use crate::maps::{ENDPOINTS, Family, INTERFACES};

/// An endpoint by its id.
#[inline(always)]
pub fn get(id: u32) -> Option<&'static Endpoint> {
    ENDPOINTS.get(id).filter(|endpoint| endpoint.ifindex != 0)
}

/// Id of the endpoint whose host side is an interface.
#[inline(always)]
pub fn of_interface(ifindex: u32) -> Option<u32> {
    // SAFETY: one word, read at once.
    unsafe { INTERFACES.get(ifindex) }.copied()
}

/// Id of the endpoint that has an address, which stands on the stack or in a map; 0 for none.
#[inline(always)]
pub fn of_address<F: Family>(address: &F::Address) -> u32 {
    // SAFETY: one word, read at once.
    unsafe { F::local_pods().get(address) }.map_or(0, |id| *id)
}

/// Whether an interface is the one at which the programs of an endpoint see what it sends.
#[inline(always)]
pub fn sends_at(id: u32, ifindex: u32) -> bool {
    get(id).is_some_and(|endpoint| endpoint.sends_at() == ifindex)
}

/// The endpoint of this id, if an interface is its.
#[inline(always)]
pub fn at(id: u32, ifindex: u32) -> Option<&'static Endpoint> {
    get(id).filter(|endpoint| endpoint.ifindex == ifindex)
}
