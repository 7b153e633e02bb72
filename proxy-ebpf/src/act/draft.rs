//! A flow that is being begun.

use crate::know::service::Choice;
use crate::maps::Family;
use crate::track::start::Start;

/// What beginning a flow needs room for.
#[repr(C)]
pub struct Draft<F: Family> {
    /// The flow.
    pub start: Start<F>,
    /// A Service's choice.
    pub choice: Choice<F>,
    /// How the flow must look so that its answers come back here: [`PLAIN`] and so on.
    pub way: u32,
    /// First source port that it may be given, host order.
    pub first: u16,
    /// Last source port that it may be given, host order.
    pub last: u16,
    /// Masquerade: the link by which it leaves.
    pub link: u32,
    /// At `hook::RELAYED`: `Course::entry`.
    pub entry: u32,
}

/// As it is.
pub const PLAIN: u32 = 0;
/// In the node's name.
pub const TRANSLATED: u32 = 1;
/// In the name of an address that is routed to `weir_host`.
pub const TO_HOST: u32 = 2;
/// A pod's, in the node's name.
pub const MASQUERADED: u32 = 3;
/// As it is, to the backend's node, which turns it.
pub const RELAYED: u32 = 5;
/// As [`MASQUERADED`], but the stack has the packet first, and the link by which it leaves begins the flow.
pub const LATER: u32 = 4;
