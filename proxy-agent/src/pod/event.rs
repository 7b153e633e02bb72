//! What happens to the node's pods.

use cni_plugin::rpc::Key;

use super::{
    fetch::Fetched,
    hands::{Hung, Watched},
    hardware::Changed,
    lift::Outcome,
    limits::{Limited, Looked},
    records::Found,
    server::Asked,
    swept::Swept,
};

/// Something that [`super::Pods`] must be given to [`super::Pods::take`].
#[derive(Debug)]
pub enum Event {
    /// The plugin asks.
    Asked(Asked),
    /// A live read is done.
    Fetched(Key, Fetched),
    /// Garbage collection (a sweep) is done.
    Swept(Box<Swept>),
    /// Programs were put on interfaces, or could not be.
    Attached(Vec<Hung>),
    /// It was looked whether interfaces have their programs; none: that could not be told.
    Watched(Option<Watched>),
    /// Limits of an interface were brought in force, or could not be.
    Limited(Box<Limited>),
    /// It was looked whether limits are as they should be.
    LookedAtLimits(Looked),
    /// Interfaces were lifted to TCX.
    Lifted(Vec<Outcome>),
    /// Hardware addresses of pods' interfaces were looked at: those that are not as known.
    Looked(std::io::Result<Vec<Changed>>),
    /// The plugin's records were looked at, and what was missing was written again.
    Kept(Result<Found, String>),
    /// Look again at what waits.
    Tick,
}
