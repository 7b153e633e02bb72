//! Weir's CNI plugin: gives a pod its addresses and its interface.
//!
//! Synchronous and single-threaded on purpose: entering a network namespace and writing `/proc/sys/net` are
//! per-thread acts, and a runtime starts this program once per pod. It does addresses and wiring by itself
//! from files under [`paths::Paths`]; the agent is asked only for programs and policy, and only by ADD.
//!
//! The library half is shared with the agent: [`rpc`] (what they say to each other), [`attachment`] and
//! [`node_file`] (what they write for each other).

pub mod attachment;
pub mod node_file;
pub mod paths;
pub mod rpc;
