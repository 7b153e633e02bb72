//! Maps of the policy datapath: node-local peer classes × rows × interned interval lists.
//!
//! A *class* is the set of policy peers that an address satisfies, a *row* is what selects a pod in one
//! direction, a *cell* is the verdict of a row on a class. All precedence (tiers, union, isolation, except)
//! is folded in when a cell is computed: the kernel only looks up. One 64-bit store of an endpoint's word
//! commits both directions.

pub mod cells;
pub mod intervals;
pub mod peers;
pub mod words;
