//! `proxyctl check`: faults are planted, each in a world of its own, named, and gone after what the hint says. Nothing planted:
//! no complaint.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[path = "check/cluster.rs"]
mod cluster;
#[path = "check/installed.rs"]
mod installed;
#[path = "check/machine.rs"]
mod machine;
#[path = "check/network.rs"]
mod network;
#[path = "check/others.rs"]
mod others;
#[path = "check/page.rs"]
mod page;
#[path = "check/plugin.rs"]
mod plugin;
#[path = "check/ports.rs"]
mod ports;
#[path = "check/stage.rs"]
mod stage;
