//! Carries out plans.

use super::{kernel::Kernel, lists::Lists, plan::Plan, report::PolicyError};

/// Writes a plan, in its order. If a map refuses, no word has been stored yet.
pub fn apply(plan: &Plan, kernel: &mut Kernel, lists: &mut Lists) -> Result<(), PolicyError> {
    while let Some((number, block)) = lists.next_unwritten() {
        kernel.tables.intervals.set(number, block)?;
        kernel.writes += 1;
        lists.written();
    }
    for (index, cell) in &plan.cells {
        kernel.set_cell(*index, *cell);
    }
    for (address, peer) in &plan.peers {
        kernel.set_peer(*address, *peer)?;
    }
    for (prefix, peer) in &plan.cidrs {
        kernel.set_cidr(*prefix, *peer)?;
    }
    for prefix in &plan.removed_cidrs {
        kernel.remove_cidr(*prefix)?;
    }
    for address in &plan.removed {
        kernel.remove_peer(*address)?;
    }
    for (id, word) in &plan.words {
        kernel.set_word(*id, *word);
    }
    Ok(())
}
