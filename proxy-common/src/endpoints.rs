//! `ENDPOINTS` (ARRAY id → endpoint), `INTERFACES` (HASH interface → id) and `LOCAL_PODS4`, `LOCAL_PODS6` (HASH
//! address → id).
//!
//! An endpoint is the host side of one pod's interface. Its id (1..[`MAX_ENDPOINTS`]) stands in its flows and indexes
//! `POLICY_WORDS` too.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Capacity of `ENDPOINTS` and `POLICY_WORDS`: endpoint ids are below this.
pub const MAX_ENDPOINTS: u32 = 4096;

/// Value of `ENDPOINTS`; the key is the endpoint's id. All zero for none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Interface index of the host side; 0 for no endpoint.
    pub ifindex: u32,
    /// The pod's IPv4 address; 0 for none.
    pub address4: Address4,
    /// The pod's IPv6 address; `::` for none.
    pub address6: Address6,
    /// Hardware address of the pod's side.
    pub pod_mac: [u8; 6],
    /// Hardware address of the host's side.
    pub host_mac: [u8; 6],
    /// `ENDPOINT_*` bits.
    pub flags: u32,
}

/// Packets to this pod go through its interface's queueing discipline (bandwidth limits): no
/// `bpf_redirect_peer`, which skips it.
pub const ENDPOINT_SHAPED: u32 = 1 << 0;
/// Packets to this pod get their times of departure from [`crate::pace`].
pub const ENDPOINT_PACED: u32 = 1 << 1;
/// Packets from this pod are seen by its programs only after they have been through its queue (bandwidth limits): a pair
/// of interfaces of the host, whose indexes are that of the pod's host side with [`QUEUE_ENTRY`] and with this bit.
pub const ENDPOINT_QUEUED: u32 = 1 << 29;
/// In the index of the interface by which packets enter a pod's queue.
pub const QUEUE_ENTRY: u32 = 1 << 30;

impl Endpoint {
    /// Index of the interface at which the pod's programs see what it sends.
    #[inline]
    pub const fn sends_at(&self) -> u32 {
        self.ifindex | self.flags & ENDPOINT_QUEUED
    }
}

map_types!(Endpoint = 40);
