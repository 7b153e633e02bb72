//! The node itself: its addresses and routes, kernel settings, and the CNI plugin's installation.
//!
//! [`keeper::NodeKeeper`] compares what should be ([`desired`], a value) with what is and carries out the
//! difference, on a thread of its own; [`ThisNode`] is what the main loop has of it.

pub mod addresses;
pub mod astray;
pub mod claims;
pub mod condition;
pub mod conflist;
pub mod desired;
pub mod detours;
pub mod device_kinds;
mod device_programs;
pub mod encryption;
pub mod facts;
mod found;
pub mod host_device;
pub mod install;
pub mod keeper;
mod last_known;
pub mod links;
pub mod maps;
pub mod masquerade;
pub mod monitor;
pub mod neighbours;
pub mod opening;
mod own_object;
pub mod platform;
pub mod pod_devices;
mod programs;
pub mod reach;
pub mod report;
pub mod routes;
mod routing;
pub mod service_ranges;
pub mod source_ports;
pub mod sysctls;
mod telling;
pub mod this_node;
mod too_big;
pub mod tunnel;
mod upkeep;
pub mod ways;
pub mod wires;
mod worker;

pub use keeper::{Gate, NodeKeeper};
pub use report::NodeReport;
pub use this_node::ThisNode;
