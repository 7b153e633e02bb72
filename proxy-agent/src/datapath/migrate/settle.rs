//! Quiescence: the moment in which no flow begins.

use std::{thread, time::Duration};

use proxy_common::node::NodeConfig;

use crate::datapath::{
    clock,
    kernel_table::KernelTable,
    table::{Table as _, TableError},
};

/// After so many seconds flows begin again, whatever became of the agent.
const AT_MOST: u32 = 5;
/// No program runs longer: those that had begun a flow before have written it by then.
const PROGRAM: Duration = Duration::from_millis(1);

/// From now on no flow begins by the programs that read this map. True if they have a node's configuration: without one
/// there are no flows.
pub(super) fn begin(config: &mut KernelTable<u32, NodeConfig>) -> Result<bool, TableError> {
    let until = clock::seconds() + AT_MOST;
    let held = write(config, until)?;
    if held {
        thread::sleep(PROGRAM);
    }
    Ok(held)
}

/// Flows begin again.
pub(super) fn end(config: &mut KernelTable<u32, NodeConfig>) -> Result<(), TableError> {
    write(config, 0).map(drop)
}

fn write(config: &mut KernelTable<u32, NodeConfig>, settles: u32) -> Result<bool, TableError> {
    let Some(now) = config.get(&0)? else {
        return Ok(false);
    };
    config.set(&0, &NodeConfig { settles, ..now })?;
    Ok(true)
}
