//! The agent as a process: checks, loads, restores, observes, and keeps the maps in step.

mod address_count;
pub mod annotations;
mod answers;
pub mod cleanup;
pub mod command;
mod comparison;
mod config_command;
mod farewell;
mod flow_count;
mod known_nodes;
pub mod lock;
pub mod logging;
pub mod main_loop;
mod migrate_command;
pub mod named_ids;
pub mod owned;
mod pressure;
pub mod process;
pub mod reload;
mod resizing;
mod run_folder;
pub mod servers;
pub mod sources;
pub mod status;
pub mod subjects;
mod teller;
pub mod upkeep;
