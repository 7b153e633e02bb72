//! `BACKENDS4`, `BACKENDS6` (HASH id → address), `BACKEND_SLOTS` (HASH set and index → id) and
//! `BACKEND_MEMBERS` (HASH set and id → slot).
//!
//! Backends are shared by all Service ports; their ids outlive the agent. A set is edited so that each
//! step is a valid set: grow = write slot, then count; shrink = overwrite the hole with the last slot,
//! then lower the count, then delete the last slot.

use crate::{
    address::{Address4, Address6},
    pod::map_types,
};

/// Value of `BACKENDS*`; the key is the id, `u32`, from one number space for both families.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Backend<A> {
    /// Address that serves.
    pub address: A,
    /// Port that serves, network order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// `BACKEND_*` bits.
    pub flags: u8,
}

/// Value of `BACKENDS4`.
pub type Backend4 = Backend<Address4>;
/// Value of `BACKENDS6`.
pub type Backend6 = Backend<Address6>;

/// The backend runs on this node, as the Service says that was written last: Services that share one may say otherwise. A mark
/// for people; whom traffic policies leave in a set is decided for each Service by its own slices, before that.
pub const BACKEND_LOCAL: u8 = 1 << 0;

/// Key of `BACKEND_SLOTS`; the value is a backend id, `u32`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotKey {
    /// Id of the set.
    pub set: u32,
    /// `0..count`.
    pub index: u32,
}

/// Key of `BACKEND_MEMBERS`; the value is the slot, `u32`, or [`MEMBER_LINGERS`]. Only for sets of frontends with
/// `FLAG_MEMBERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    /// Id of the set.
    pub set: u32,
    /// Id of the backend.
    pub backend: u32,
}

/// In `BACKEND_MEMBERS`, of sets of datagrams: the backend still serves, but has no slot (it terminates, or others are
/// nearer): flows that it has stay with it, and no new one begins.
pub const MEMBER_LINGERS: u32 = u32::MAX;

map_types!(Backend4 = 8, Backend6 = 20, SlotKey = 8, MemberKey = 8);
