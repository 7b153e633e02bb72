//! The agent as a process: checks, loads, restores, observes, and keeps the maps in step.

pub mod logging;
pub mod preflight;
pub mod readiness;
