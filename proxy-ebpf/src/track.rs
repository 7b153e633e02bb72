//! Connection tracking (`proxy_common::conntrack`): finding flows, keeping them in step, beginning and ending them,
//! and which client keeps which backend.

pub mod affinity;
pub mod flow;
mod key;
pub mod life;
mod owner;
pub mod relay;
pub mod slot;
pub mod start;
