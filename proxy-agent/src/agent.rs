//! The agent as a process: checks, loads, restores, observes, and keeps the maps in step.

pub mod cleanup;
pub mod collector;
pub mod command;
pub mod logging;
pub mod main_loop;
pub mod process;
pub mod readiness;
pub mod servers;
pub mod sources;
pub mod status;
pub mod upkeep;
