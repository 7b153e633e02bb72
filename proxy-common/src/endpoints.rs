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

map_types!(Endpoint = 40);
