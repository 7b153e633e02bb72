//! What the maps say: of the node, its links and endpoints, Services, policy, ways. Nothing here writes to a map that
//! another program reads.

pub mod anti_spoof;
pub mod endpoint;
pub mod frontend;
pub mod inside;
pub mod maglev;
pub mod next_hop;
pub mod node;
pub mod policy;
pub mod relay;
pub mod service;
pub mod sources;
pub mod tunnel;
pub mod vip;
