//! The pods of this node: what the CNI plugin has wired, their endpoint ids, map entries and programs.
//!
//! The plugin asks over a socket ([`server`]); the main loop owns [`Pods`] and drives it: an ADD writes the
//! endpoint (under a policy word that denies everything), attaches the programs, and is answered once policy
//! says that the pod's word is committed. How they are attached is bettered later ([`lift`]). What is known
//! survives the agent in the plugin's records and in `ENDPOINTS`, which gives each interface its id back.

pub mod collector;
pub mod entries;
pub mod event;
pub mod fetch;
pub mod hands;
pub mod host_port;
pub mod interfaces;
pub mod limits;
pub mod live_reader;
pub mod pods;
pub mod restore;
pub mod server;
pub mod swept;
pub mod tables;
pub mod waiting;
pub mod works;

mod admit;
mod cut_off;
mod follow;
mod hardware;
mod identity;
mod ids;
mod lift;
mod local;
mod records;
mod subject;
mod tell;
mod upkeep;

#[cfg(test)]
mod tests;

pub use cut_off::Fault;
pub use entries::clients;
pub use event::Event;
pub use fetch::Fetch;
pub use interfaces::Interfaces;
pub use pods::{Pods, PodsConfig};
pub use tables::PodTables;
pub use waiting::Missing;
pub use works::Works;
