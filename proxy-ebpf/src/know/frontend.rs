//! Which frontend an address, port and protocol mean: its own, or one of all the node's addresses.
//!
//! A Service comes before a `hostPort`, as with kube-proxy, whose rules stand before those of the portmap
//! plugin (CVE-2019-9946 is what happens otherwise).

use proxy_common::{
    frontends::{FLAG_HOST_PORT, Frontend, FrontendKey},
    node::{ADDRESS_HOST_PORT, ADDRESS_NODE_PORT},
};

use crate::machine::words::clear;
use crate::maps::Family;

/// Looks it up. `bits` gives the `ADDRESS_*` bits of the address, and is asked only where they matter.
#[inline(always)]
pub fn find<F: Family>(
    address: F::Address,
    port: u16,
    protocol: u8,
    bits: impl FnOnce() -> u32,
) -> Option<&'static Frontend> {
    let mut key = FrontendKey {
        address,
        port,
        protocol,
        pad: 0,
    };
    let mut own = at::<F>(&key);
    if let Some(service) = own
        && !of_pod(service)
    {
        if !F::is_loopback(address) {
            return own;
        }
        // Whoever writes a Service's status shall not take over the loopback of nodes.
        own = None;
    }
    let bits = bits();
    if bits & (ADDRESS_NODE_PORT | ADDRESS_HOST_PORT) == 0 {
        return None;
    }
    // On all addresses of the node.
    clear(&mut key.address);
    let any = at::<F>(&key);
    if any.is_some_and(|any| !of_pod(any)) {
        if bits & ADDRESS_NODE_PORT != 0 {
            return any;
        }
    } else if own.is_none() {
        own = any;
    }
    if bits & ADDRESS_HOST_PORT != 0 {
        own
    } else {
        None
    }
}

#[inline(always)]
fn at<F: Family>(key: &FrontendKey<F::Address>) -> Option<&'static Frontend> {
    // SAFETY: the agent replaces values whole; a value that changes under the reader names sets that are both there.
    unsafe { F::frontends().get(key) }
}

#[inline(always)]
const fn of_pod(frontend: &Frontend) -> bool {
    frontend.flags & FLAG_HOST_PORT != 0
}
