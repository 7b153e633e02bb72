//! What every subject (Services, policy, pods, the node) is to the main loop.
//!
//! A subject lives in its own folder and has one shape: observe → desired → plan → apply → verify. Subjects do not know
//! each other: what one must know of another is told through [`Here`], as a value.

pub mod growth;
mod here;
pub mod repairs;

pub use here::{Here, Told};
pub use repairs::Repairs;

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    api::messages::{Names, Status},
    model::{Dirty, Notice, Snapshot},
    observe::Store,
};

/// When nothing asks for an earlier look.
const IDLE: Duration = Duration::from_hours(1);

/// One turn of the main loop.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// What is observed.
    pub snapshot: &'a Snapshot,
    /// What of it has changed.
    pub dirty: &'a Dirty,
    /// Relist: a kind was listed whole, or is refused, since the last turn.
    pub relisted: bool,
}

/// What came of a piece of a full comparison: how many entries were not as they had been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// There is more to compare.
    More(usize),
    /// That was the last piece.
    Done(usize),
    /// It could not be done, or not all be set right. The next comparison begins anew.
    Failed(usize),
}

/// How deep a comparison goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the maps hold, beside what was written to them.
    Maps,
    /// And what was written, beside what is wanted.
    Whole,
}

/// Entries that wait for room, by map.
pub type Room = BTreeMap<String, u32>;

/// Something that is kept in step with what is observed.
pub trait Subject {
    /// Its name, as health has it.
    fn name(&self) -> &'static str;

    /// Brings it in step with what has changed, with what others told, and with what is due. Where there is nothing of
    /// that it returns at once: it is called in each turn, and again while subjects tell each other something new.
    fn sync(&mut self, turn: &Turn<'_>, here: &mut Here);

    /// Has done what the last sync found due, by who may wait for files and the kernel. Nothing of the store is held meanwhile.
    fn act(&mut self, _: &mut Here) {}

    /// Has the next sync look at the machine, as it does from time to time: somebody asks how it is.
    fn look(&mut self) {}

    /// Whether that look is still under way.
    fn is_looking(&self) -> bool {
        false
    }

    /// When it wants to be synced again though nothing changes.
    fn due(&self) -> Instant;

    /// Compares a piece of the maps, of about `budget` entries, with what was written to them, and sets right what
    /// differs. The store is read only where it must be, and briefly. A comparison ends before one of another depth begins.
    fn verify(&mut self, store: &Store, budget: usize, depth: Depth) -> Verified;

    /// Why the kernel does not take a write of it, if that is so. What was refused waits for another change or for
    /// room; that makes no node unhealthy.
    fn broken(&self) -> Option<&str>;

    /// Adds up how many entries wait for room in which maps. Each map that is named is made larger.
    fn waits_for_room(&self, room: &mut Room);

    /// These maps have other capacities now.
    fn resized(&mut self, maps: &BTreeMap<String, u32>);

    /// What owners of objects should know.
    fn notices(&self) -> Vec<Notice> {
        Vec::new()
    }

    /// Fills in its part of the status.
    fn status(&self, status: &mut Status);

    /// Fills in what its numbers in the maps stand for.
    fn names(&self, names: &mut Names);

    /// What a full comparison would change, in words.
    fn diff(&self, snapshot: &Snapshot) -> anyhow::Result<Vec<String>>;
}

/// Whether somebody waits for a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Nobody does.
    #[default]
    Nobody,
    /// For one that is to begin.
    Waits,
    /// For the one that is under way.
    Begun,
}

impl Asked {
    /// A look begins.
    pub fn begin(&mut self) {
        if *self == Self::Waits {
            *self = Self::Begun;
        }
    }

    /// A look has ended.
    pub fn end(&mut self) {
        if *self == Self::Begun {
            *self = Self::Nobody;
        }
    }
}

/// After what a report asks for.
pub fn after(wait: Option<Duration>) -> Instant {
    Instant::now() + wait.unwrap_or(IDLE)
}
