//! The CNI protocol, specification 1.1.0, as runtimes really speak it.

pub mod config;
pub mod env;
pub mod error;
pub mod prev;
pub mod result;
pub mod supported;
pub mod version;
