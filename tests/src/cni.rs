//! A container runtime reduced to what a CNI plugin sees of it: environment, stdin, network namespaces.
//!
//! Namespaces are held by open files and named `/proc/PID/fd/N`, so that nothing is mounted and nothing can
//! be left behind.

pub mod agent;
pub mod runtime;
pub mod space;

pub use agent::FakeAgent;
pub use runtime::{Container, Outcome, Runtime};
pub use space::Space;
