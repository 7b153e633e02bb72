//! How each subject looks. Renderers of Services and policy live with their subjects.

pub mod affinity;
pub mod conntrack;
pub mod endpoints;
pub mod maps;
pub mod status;
pub mod words;
