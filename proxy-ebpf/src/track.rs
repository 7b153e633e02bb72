//! Connection tracking (`proxy_common::conntrack`): finding flows, keeping them in step, beginning and ending them,
//! and which client keeps which backend.

pub mod affinity;
pub mod flow;
pub mod life;
pub mod slot;
pub mod start;
