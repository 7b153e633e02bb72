//! What happens to the node's pods.

use cni_plugin::rpc::Key;

use super::{
    collector::{Memory, Sweep},
    fetch::Fetched,
    hardware::Changed,
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
    /// Hardware addresses of pods' interfaces were looked at: those that are not as known.
    Looked(std::io::Result<Vec<Changed>>),
    /// Look again at what waits.
    Tick,
}
