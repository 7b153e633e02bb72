//! Rows in the cell table: numbers, space, programs, the lists they hold.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use proxy_common::policy::{
    cells::{ALLOW_ALL, Cell, DENY_ALL, LIST, ROW_STRIDE},
    words::{ROW_FIRST, ROW_LIMIT},
};

use super::{
    classes::ClassId,
    lists::{ListId, Lists},
    report::PolicyError,
    row::{Content, Match, Program, RowKey},
    slots::Slots,
    vector::Vector,
};

/// Handle of a row: stays the same when the row moves in the table.
pub type RowHandle = u64;

/// A row of the table.
#[derive(Debug)]
pub struct Row {
    /// What it was compiled from; none if a former agent wrote it.
    pub key: Option<Arc<RowKey>>,
    /// Where it lies.
    pub place: Place,
    /// Which generation of classes it is about.
    pub side: u32,
    program: Program,
    memo: HashMap<Match, u64>,
    held: HashSet<ListId>,
    /// Blocks of lists that a former agent wrote.
    pub foreign_blocks: Vec<u32>,
}

impl Row {
    /// A row without space.
    pub fn new(key: Option<Arc<RowKey>>, program: Program, side: u32) -> Self {
        Self {
            key,
            place: Place::default(),
            side,
            program,
            memo: HashMap::new(),
            held: HashSet::new(),
            foreign_blocks: Vec::new(),
        }
    }

    /// A row that no word ever names, to hold blocks until they are free.
    pub fn husk() -> Self {
        Self::new(None, Program::default(), 0)
    }

    /// The cookies of its rules.
    pub fn cookies(&self) -> impl Iterator<Item = u32> {
        self.program.cookies()
    }

    /// Puts the row in terms of other atoms.
    pub fn recompile(&mut self, program: Program) {
        self.program = program;
        self.memo.clear();
    }

    /// The cell of a class.
    pub fn cell(&mut self, vector: &Vector, lists: &mut Lists) -> Result<u64, PolicyError> {
        let held = self.program.matches(vector);
        if let Some(cell) = self.memo.get(&held) {
            return Ok(*cell);
        }
        let cell = self.pack(&self.program.content(&held), lists)?;
        self.memo.insert(held, cell);
        Ok(cell)
    }

    fn pack(&mut self, content: &Content, lists: &mut Lists) -> Result<u64, PolicyError> {
        let cell = match content {
            Content::Deny => Cell {
                kind: DENY_ALL,
                list: 0,
                cookie: 0,
            },
            Content::Allow(cookie) => Cell {
                kind: ALLOW_ALL,
                list: 0,
                cookie: *cookie,
            },
            Content::List(intervals) => {
                let list = lists.hold(intervals)?;
                if !self.held.insert(list) {
                    lists.release(list);
                }
                Cell {
                    kind: LIST,
                    list,
                    cookie: 0,
                }
            }
        };
        Ok(cell.pack())
    }

    /// Lets go of the lists that are not among these: gives what holds them until they are free.
    pub fn shed(&mut self, used: &HashSet<ListId>) -> Option<Self> {
        let is_used = |cell: &Cell| cell.kind != LIST || used.contains(&cell.list);
        let unused: HashSet<ListId> = self.held.difference(used).copied().collect();
        if unused.is_empty() {
            return None;
        }
        self.held.retain(|list| used.contains(list));
        self.memo.retain(|_, cell| is_used(&Cell::unpack(*cell)));
        let mut husk = Self::husk();
        husk.held = unused;
        Some(husk)
    }
}

/// Space of a row in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The row's number; 0 while it has no space yet.
    pub number: u32,
    /// Strides that it occupies.
    pub span: u32,
}

impl Place {
    /// How many classes fit.
    pub fn capacity(self) -> u32 {
        (self.span * ROW_STRIDE).saturating_sub(1)
    }

    /// Index of its header.
    pub fn header(self) -> u32 {
        self.number * ROW_STRIDE
    }

    /// Index of the cell of a class.
    pub fn index(self, class: ClassId) -> u32 {
        self.header() + 1 + class
    }
}

/// Strides of a table of so many cells.
fn strides(cells: u32) -> u32 {
    (cells / ROW_STRIDE).min(ROW_LIMIT)
}

/// Strides of a row of `classes` columns with some to spare.
fn with_spare(classes: u32) -> u32 {
    let spare = (classes / 8).max(8);
    (1 + classes + spare).div_ceil(ROW_STRIDE)
}

/// All rows, and the numbers of their space.
#[derive(Debug)]
pub struct Rows {
    /// The rows.
    pub all: BTreeMap<RowHandle, Row>,
    slots: Slots,
    next: RowHandle,
}

impl Rows {
    /// Rows in a table of this many cells.
    pub fn new(cells: u32) -> Self {
        Self {
            all: BTreeMap::new(),
            slots: Slots::new(strides(cells), ROW_FIRST),
            next: 0,
        }
    }

    /// The table has so many cells from now on, no fewer than before.
    pub fn grow(&mut self, cells: u32) {
        self.slots.grow(strides(cells));
    }

    /// Adds a row.
    pub fn add(&mut self, row: Row) -> RowHandle {
        self.next += 1;
        self.all.insert(self.next, row);
        self.next
    }

    /// Finds space for a row of `classes` columns, with some to spare. The row has its space after that.
    pub fn place(&mut self, handle: RowHandle, classes: u32) -> Result<(), PolicyError> {
        let place = self.space(classes)?;
        if let Some(row) = self.all.get_mut(&handle) {
            row.place = place;
        }
        Ok(())
    }

    /// Notes that a row lies elsewhere now. Gives what holds the place that it has left.
    pub fn relocate(&mut self, handle: RowHandle, to: Place) -> Option<RowHandle> {
        let row = self.all.get_mut(&handle)?;
        let mut left = Row::husk();
        left.place = std::mem::replace(&mut row.place, to);
        Some(self.add(left))
    }

    /// Whether a row takes more than twice what a new one of so many columns would.
    pub fn is_wide(&self, row: RowHandle, classes: u32) -> bool {
        let row = self.all.get(&row);
        row.is_some_and(|row| row.place.span > 2 * with_spare(classes))
    }

    /// Takes space for a row of `classes` columns, with some to spare.
    pub fn space(&mut self, classes: u32) -> Result<Place, PolicyError> {
        let wide = with_spare(classes);
        let tight = (1 + classes).div_ceil(ROW_STRIDE);
        let fits = |slots: &mut Slots, span| slots.take(span).map(|number| Place { number, span });
        fits(&mut self.slots, wide)
            .or_else(|| fits(&mut self.slots, tight))
            .ok_or_else(|| PolicyError::NoRoom {
                map: "POLICY_CELLS",
                needed: tight * ROW_STRIDE,
                free: self.slots.free() * ROW_STRIDE,
                capacity: self.slots.capacity() * ROW_STRIDE,
                also: BTreeMap::new(),
            })
    }

    /// Gives the space of a row back.
    pub fn free_space(&mut self, Place { number, span }: Place) {
        if number >= ROW_FIRST {
            self.slots.release(number, span);
        }
    }

    /// Marks space that a former agent's row occupies.
    pub fn mark(&mut self, Place { number, span }: Place) {
        self.slots.mark(number, span);
    }

    /// Forgets a row and frees all that it holds. Only when no packet can be reading it.
    pub fn forget(&mut self, handle: RowHandle, lists: &mut Lists) {
        let Some(row) = self.all.remove(&handle) else {
            return;
        };
        self.free_space(row.place);
        row.held.iter().for_each(|list| lists.release(*list));
        for block in &row.foreign_blocks {
            lists.slots().release(*block, 1);
        }
    }

    /// A list stands elsewhere from now on.
    pub fn rename_list(&mut self, from: ListId, to: ListId) {
        for row in self.all.values_mut().filter(|r| r.held.contains(&from)) {
            row.held.remove(&from);
            row.held.insert(to);
            for cell in row.memo.values_mut() {
                let known = Cell::unpack(*cell);
                if known.kind == LIST && known.list == from {
                    *cell = Cell { list: to, ..known }.pack();
                }
            }
        }
    }

    /// Cells in use, and all there are.
    pub fn usage(&self) -> (u32, u32) {
        let (used, all) = (self.slots.in_use(), self.slots.capacity());
        (used * ROW_STRIDE, all * ROW_STRIDE)
    }
}
