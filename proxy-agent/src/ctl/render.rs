//! How each subject looks. The renderers of Services live with their subject.

pub mod affinity;
pub mod conntrack;
pub mod endpoints;
pub mod maps;
pub mod policy;
pub mod status;
pub mod words;
