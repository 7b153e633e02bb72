//! What happens to the node's pods.

use cni_plugin::rpc::Key;

use super::{
    collector::{Memory, Sweep},
    fetch::Fetched,
    lift::Outcome,
    server::Asked,
};

/// Something that [`super::Pods`] must be given to [`super::Pods::take`].
#[derive(Debug)]
pub enum Event {
    /// The plugin asks.
    Asked(Asked),
    /// A live read is done.
    Fetched(Key, Fetched),
    /// A sweep is done.
    Swept(Memory, Sweep),
    /// Interfaces were lifted to TCX.
    Lifted(Vec<Outcome>),
    /// Look again at what waits.
    Tick,
}
