//! The node itself: its addresses and routes, kernel settings, and the CNI plugin's installation.
//!
//! [`keeper::NodeKeeper`] compares what should be ([`desired`], a value) with what is and carries out the
//! difference.

pub mod addresses;
pub mod claims;
pub mod condition;
pub mod conflist;
pub mod desired;
pub mod device_kinds;
mod device_programs;
pub mod encryption;
pub mod facts;
pub mod host_device;
pub mod install;
pub mod keeper;
mod last_known;
pub mod links;
pub mod maps;
pub mod masquerade;
pub mod monitor;
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
pub mod this_node;
pub mod tunnel;
pub mod ways;
pub mod wires;

pub use keeper::NodeKeeper;
pub use report::NodeReport;
pub use this_node::ThisNode;
