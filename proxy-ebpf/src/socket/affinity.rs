//! Session affinity of socket calls. The source address is not chosen yet when a process connects, so that
//! the client is its network namespace: a pod, or the node.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use proxy_common::{
    affinity::{Affinity, AffinityKey, CLIENT_NETNS},
    backends::MemberKey,
    frontends::Frontend,
    time::seconds,
};

use super::context::SocketCall;
use crate::maps::{AFFINITY, BACKEND_MEMBERS};

/// The backend that served the caller last, if that is not too long ago and the backend still serves; the
/// time-out begins anew.
#[inline(always)]
pub fn find(call: &SocketCall, frontend: &Frontend) -> Option<u32> {
    let entry = AFFINITY.get_ptr_mut(key(call, frontend.service))?;
    // SAFETY: the entry stays readable until the program ends; both words are read alone.
    let Affinity { backend, last_used } = unsafe { *entry };
    let now = now();
    if now.wrapping_sub(last_used) >= frontend.affinity_seconds {
        return None;
    }
    let member = MemberKey {
        set: frontend.internal.id,
        backend,
    };
    BACKEND_MEMBERS.get_ptr(member)?;
    if now != last_used {
        // SAFETY: as above; one word is written.
        unsafe { core::ptr::write_volatile(&raw mut (*entry).last_used, now) };
    }
    Some(backend)
}

/// Remembers who serves the caller.
#[inline(always)]
pub fn record(call: &SocketCall, service: u32, backend: u32) {
    let entry = Affinity {
        backend,
        last_used: now(),
    };
    // An LRU map makes room by itself; without an entry the next call is balanced.
    AFFINITY.insert(key(call, service), entry, 0).ok();
}

#[inline(always)]
fn key(call: &SocketCall, service: u32) -> AffinityKey {
    let cookie = call.netns_cookie();
    AffinityKey {
        client: [CLIENT_NETNS, 0, (cookie >> 32) as u32, cookie as u32],
        service,
    }
}

#[inline(always)]
fn now() -> u32 {
    // SAFETY: the helper takes nothing.
    seconds(unsafe { bpf_ktime_get_coarse_ns() })
}
