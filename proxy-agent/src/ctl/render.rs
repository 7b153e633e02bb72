//! How each subject looks. Renderers of Services and policy live with their subjects.

pub mod status;
