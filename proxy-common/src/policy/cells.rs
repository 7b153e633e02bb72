//! `POLICY_CELLS` (ARRAY, mmapable, index → `u64`): the verdict of a row on a class.
//!
//! Row `r` begins at `r * ROW_STRIDE`: there stands its header (number of classes in the low 32 bits), and
//! class `c` stands at `r * ROW_STRIDE + 1 + c`. A row with more than `ROW_STRIDE - 1` classes occupies the
//! following rows' space too: those row numbers are not given out.
//!
//! A cell is `kind : 2 | list : 22 | reserved : 8 | cookie : 32`, from the low end.

use crate::policy::words::ROW_FIRST;

/// Cells per row number.
pub const ROW_STRIDE: u32 = 64;
/// Default capacity of `POLICY_CELLS`.
pub const CELLS_DEFAULT: u32 = 1 << 18;

/// Numbers of lists, and so of blocks, are below this.
pub const LIST_NUMBERS: u32 = 1 << 22;

/// Nothing passes.
pub const DENY_ALL: u64 = 0;
/// Everything passes.
pub const ALLOW_ALL: u64 = 1;
/// The interval list decides.
pub const LIST: u64 = 2;

const _: () = assert!(ROW_FIRST >= 2);

/// A cell, taken apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cell {
    /// [`DENY_ALL`], [`ALLOW_ALL`] or [`LIST`].
    pub kind: u64,
    /// First block of the interval list, if `kind` is [`LIST`].
    pub list: u32,
    /// Names the rule that decided, for people; 0 is the default of the direction.
    pub cookie: u32,
}

impl Cell {
    /// Packs the cell.
    #[must_use]
    pub const fn pack(self) -> u64 {
        (self.kind & 3)
            | ((self.list & (LIST_NUMBERS - 1)) as u64) << 2
            | (self.cookie as u64) << 32
    }

    /// Takes the cell apart.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "BPF: on the path of every new flow")]
    pub const fn unpack(cell: u64) -> Self {
        Self {
            kind: cell & 3,
            list: (cell >> 2) as u32 & (LIST_NUMBERS - 1),
            cookie: (cell >> 32) as u32,
        }
    }
}
