//! The agent: keeps the maps in the kernel in step with the Kubernetes API.
//!
//! The way of an update: [`observe`] → [`model`] → desired → plan → apply → verify. Of the agent's
//! modules [`observe`] is the only one that knows kube, [`datapath`] the only one that knows aya; of `proxyctl`'s
//! [`ctl::cluster`] knows kube.

pub mod agent;
pub mod api;
pub mod config;
pub mod ctl;
pub mod datapath;
pub mod model;
pub mod node;
pub mod observe;
pub mod pod;
pub mod policy;
pub mod pools;
pub mod service;
pub mod subject;
mod usage;
pub mod watchdog;
