//! Session affinity of socket calls. The source address is not chosen yet when a process connects: its network namespace
//! says whose it will be, so that a client has the same backend here and packet by packet.

use proxy_common::{
    affinity::{Affinity, AffinityKey, CLIENT_NETNS},
    frontends::Frontend,
    node::NodeConfig,
    sockets::CLIENT_BY_PACKET,
};

use super::context::SocketCall;
use crate::{
    know::service::takes_clients,
    machine::clock::now,
    maps::{AFFINITY, CLIENTS, Family},
};

/// The backend that served the caller last, if that is not too long ago and the backend still takes clients; the
/// time-out begins anew.
#[inline(always)]
pub fn find<F: Family>(call: &SocketCall, config: &NodeConfig, frontend: &Frontend) -> Option<u32> {
    let entry = AFFINITY.get_ptr_mut(key::<F>(call, config, frontend.service))?;
    // SAFETY: the entry stays readable until the program ends; both words are read alone.
    let Affinity { backend, last_used } = unsafe { *entry };
    let now = now();
    if now.wrapping_sub(last_used) >= frontend.affinity_seconds {
        return None;
    }
    if !takes_clients(frontend.internal.id, backend) {
        return None;
    }
    if now != last_used {
        // SAFETY: as above; one word is written.
        unsafe { core::ptr::write_volatile(&raw mut (*entry).last_used, now) };
    }
    Some(backend)
}

/// Remembers who serves the caller.
#[inline(always)]
pub fn record<F: Family>(call: &SocketCall, config: &NodeConfig, service: u32, backend: u32) {
    let entry = Affinity {
        backend,
        last_used: now(),
    };
    // An LRU map makes room by itself; without an entry the next call is balanced.
    AFFINITY
        .insert(key::<F>(call, config, service), entry, 0)
        .ok();
}

/// Whether the caller's pod asked for its connections to be translated packet by packet.
#[inline(always)]
pub fn is_by_packet(call: &SocketCall, config: &NodeConfig) -> bool {
    let cookie = call.netns_cookie();
    // SAFETY: read at once; values are replaced whole.
    cookie != config.netns_cookie
        && unsafe { CLIENTS.get(cookie) }.is_some_and(|pod| pod.flags & CLIENT_BY_PACKET != 0)
}

#[inline(always)]
fn key<F: Family>(call: &SocketCall, config: &NodeConfig, service: u32) -> AffinityKey {
    AffinityKey {
        client: client::<F>(call, config),
        service,
    }
}

#[inline(always)]
fn client<F: Family>(call: &SocketCall, config: &NodeConfig) -> [u32; 4] {
    let cookie = call.netns_cookie();
    if cookie == config.netns_cookie {
        return F::as_ipv6(F::of_pair(config.address4, config.address6));
    }
    // SAFETY: read at once; values are replaced whole.
    if let Some(pod) = unsafe { CLIENTS.get(cookie) } {
        return F::as_ipv6(F::of_pair(pod.address4, pod.address6));
    }
    [CLIENT_NETNS, 0, (cookie >> 32) as u32, cookie as u32]
}
