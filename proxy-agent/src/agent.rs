//! The agent as a process: checks, loads, restores, observes, and keeps the maps in step.

mod answers;
pub mod cleanup;
pub mod cni_metrics;
pub mod collector;
pub mod command;
pub mod diff;
mod due;
pub mod host_device;
mod last_known;
pub mod live_reader;
pub mod local_endpoints;
pub mod lock;
pub mod logging;
pub mod main_loop;
pub mod named_ids;
pub mod node;
pub mod node_condition;
pub mod own_addresses;
pub mod policies;
pub mod process;
pub mod readiness;
pub mod servers;
pub mod service_ranges;
pub mod services;
pub mod sources;
pub mod status;
pub mod upkeep;
