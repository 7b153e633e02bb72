//! The agent is killed at every system call by which it writes, while it starts, while it brings changes in force, and while it
//! exchanges maps: the next start converges, and meanwhile no packet meets a wrong verdict.
//!
//! Words of policy are stores in shared memory, not calls: they are seen as they stand between two calls.

#[path = "agent_killed/bed.rs"]
mod bed;
#[path = "agent_killed/exchange.rs"]
mod exchange;
#[path = "agent_killed/picture.rs"]
mod picture;
#[path = "agent_killed/probes.rs"]
mod probes;
#[path = "agent_killed/run.rs"]
mod run;

use anyhow::Result;

use run::When;

#[test]
fn killed_while_it_starts_and_much_has_changed() -> Result<()> {
    run::run("killed-start", When::Starts)
}

#[test]
fn killed_while_it_brings_changes_in_force() -> Result<()> {
    run::run("killed-change", When::Changes)
}

#[test]
fn killed_while_it_resizes_maps() -> Result<()> {
    exchange::resizes("killed-resize")
}

#[test]
fn killed_while_it_takes_over_from_schema_1() -> Result<()> {
    exchange::takes_over("killed-upgrade")
}

#[test]
fn killed_at_its_first_start() -> Result<()> {
    run::first_start()
}
