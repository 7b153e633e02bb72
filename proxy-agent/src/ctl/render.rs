//! How each subject looks. What rows of Services hold is found by their subject.

pub mod affinity;
pub mod conntrack;
pub mod endpoints;
mod maglev;
pub mod maps;
pub mod policy;
pub mod services;
mod sources;
pub mod status;
pub mod words;
