//! Test support.

pub mod controlplane;
