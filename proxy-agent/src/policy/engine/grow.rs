//! Maps that have other capacities from now on. What they held they still hold.

use super::{PolicyEngine, glance::Glance};

impl PolicyEngine {
    /// Takes over how large the maps are. Policies that were refused for want of room are tried again by the next sync, if
    /// there is more of it. False if an array is smaller than before: an engine must begin anew then, with what it holds.
    pub fn grow(&mut self) -> bool {
        let tables = &self.kernel.tables;
        let (cells, words) = (tables.cells.len(), tables.words.len());
        let blocks = tables.intervals.capacity();
        let all_blocks = self.lists.usage().1;
        if cells < self.kernel.cells.size()
            || words < self.kernel.words.size()
            || blocks < all_blocks
        {
            return false;
        }
        self.kernel.cells.resize(cells);
        self.kernel.words.resize(words);
        self.rows.grow(cells);
        self.lists.grow(blocks);
        // Its places are those of the former maps.
        self.glance = Glance::default();
        true
    }
}
