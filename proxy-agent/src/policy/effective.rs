//! Which policies count: all that are observed, but for those for which a map has no room.
//!
//! Pods that a refused policy selects are denied everything in the directions that it would isolate. While a map may still grow
//! the policy waits instead: only pods that are new are denied, and for others it is as it was when it last counted.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    report::PolicyError,
    version::{PolicyVersion, Versions},
};

/// Until a refused policy is tried again the first time; then twice as long, and so on.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait. Once there is more room than before, nothing waits.
const LONGEST: Duration = Duration::from_mins(2);

/// Policies that count, and those that do not.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    /// What counts.
    pub versions: Versions,
    /// What does not.
    pub refused: Versions,
    /// What does not count yet.
    pub waiting: Versions,
}

impl Effective {
    /// What is observed, but for what did not count and is as it was.
    pub fn new(observed: &Versions, before: &Self) -> Self {
        let mut new = Self {
            versions: observed.clone(),
            ..Self::default()
        };
        let stays =
            |version: &&Arc<PolicyVersion>| observed.get(&version.policy.name) == Some(*version);
        for version in before.refused.values().filter(stays) {
            new.refuse(version);
        }
        for version in before.waiting.values().filter(stays) {
            new.hold(version);
        }
        new
    }

    /// Everything that is observed, whether it counted or not.
    pub fn readmit(&mut self) {
        self.versions.set_all(&std::mem::take(&mut self.refused));
        self.versions.set_all(&std::mem::take(&mut self.waiting));
    }

    /// Refuses a policy.
    pub fn refuse(&mut self, version: &Arc<PolicyVersion>) {
        self.versions.remove(&version.policy.name);
        self.refused.set(version);
    }

    /// Lets a policy wait.
    pub fn hold(&mut self, version: &Arc<PolicyVersion>) {
        self.versions.remove(&version.policy.name);
        self.waiting.set(version);
    }

    /// Those that wait as they were when they counted last, if ever.
    pub fn last_good<'a>(
        &'a self,
        good: &'a Versions,
    ) -> impl Iterator<Item = &'a Arc<PolicyVersion>> {
        let names = self.waiting.keys();
        names.filter_map(|name| good.get(name))
    }

    /// What counts for whom a policy that waits is as it was.
    pub fn as_ever(&self, good: &Versions) -> Versions {
        let mut versions = self.versions.clone();
        let last = self.last_good(good);
        last.for_each(|version| versions.set(version));
        versions
    }
}

/// In which order policies have to give way: those that are in force last, and of the others those that take the least.
pub fn in_order(versions: &Versions, good: &Versions) -> Vec<Arc<PolicyVersion>> {
    let mut order: Vec<_> = versions.values().cloned().collect();
    order.sort_by_key(|version| {
        let is_good = good.get(&version.policy.name) == Some(version);
        (is_good, std::cmp::Reverse(size(version)))
    });
    order
}

/// How much a policy names.
fn size(version: &PolicyVersion) -> usize {
    let policy = &version.policy;
    let rules = policy.ingress.iter().chain(&policy.egress).flatten();
    rules
        .map(|rule| 1 + rule.peers.len() + rule.ports.len())
        .sum()
}

/// Room that is left in the maps that a policy may fill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Cells of `POLICY_CELLS`.
    pub cells: u32,
    /// Blocks of `INTERVALS`.
    pub blocks: u32,
    /// Prefixes of `CIDRS4` and `CIDRS6`.
    pub cidrs: [u32; 2],
}

impl Room {
    fn exceeds(&self, other: &Self) -> bool {
        self.cells > other.cells
            || self.blocks > other.blocks
            || self.cidrs[0] > other.cidrs[0]
            || self.cidrs[1] > other.cidrs[1]
    }

    fn most(&self, other: &Self) -> Self {
        let cidrs = [0, 1].map(|family| self.cidrs[family].max(other.cidrs[family]));
        Self {
            cells: self.cells.max(other.cells),
            blocks: self.blocks.max(other.blocks),
            cidrs,
        }
    }
}

/// When refused policies are tried again: after growing times, and at once where there is more room than was ever tried.
#[derive(Debug, Default)]
pub struct BackOff(Option<Tried>);

#[derive(Debug)]
struct Tried {
    room: Room,
    again: Instant,
    wait: Duration,
    want: Want,
}

/// Why it did not go.
#[derive(Clone, Debug, Default)]
pub struct Want {
    /// In words.
    pub why: String,
    /// Which maps have no room, and how many entries more they need at the least.
    pub maps: BTreeMap<&'static str, u32>,
}

impl Want {
    /// Takes note of what did not go.
    pub fn note(&mut self, error: &PolicyError) {
        self.why = error.to_string();
        let PolicyError::NoRoom {
            map, needed, also, ..
        } = error
        else {
            return;
        };
        for (map, needed) in also.iter().chain([(map, needed)]) {
            let known = self.maps.entry(map).or_default();
            *known = (*known).max(*needed);
        }
    }
}

impl BackOff {
    /// Nothing is refused.
    pub fn end(&mut self) {
        self.0 = None;
    }

    /// With so much room it did not go.
    pub fn note(&mut self, now: Instant, room: Room, want: Want) {
        let (room, wait) = match &self.0 {
            Some(before) => (before.room.most(&room), (before.wait * 2).min(LONGEST)),
            None => (room, FIRST),
        };
        self.0 = Some(Tried {
            room,
            again: now + wait,
            wait,
            want,
        });
    }

    /// Whether it is time to try again, with so much room.
    pub fn is_due(&self, now: Instant, room: Room) -> bool {
        let tried = self.0.as_ref();
        tried.is_some_and(|tried| now >= tried.again || room.exceeds(&tried.room))
    }

    /// How long to wait for that, if the room stays as it is.
    pub fn due(&self, now: Instant) -> Option<Duration> {
        let tried = self.0.as_ref()?;
        Some(tried.again.saturating_duration_since(now))
    }

    /// Why it did not go.
    pub fn why(&self) -> &str {
        self.0.as_ref().map_or("", |tried| &tried.want.why)
    }

    /// Which maps have no room, and how many entries more they need at the least.
    pub fn wanting(&self) -> BTreeMap<&'static str, u32> {
        let tried = self.0.as_ref();
        tried.map_or_else(BTreeMap::new, |tried| tried.want.maps.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_where_there_is_room() {
        let (now, mut back_off) = (Instant::now(), BackOff::default());
        let room = |cells| Room {
            cells,
            ..Room::default()
        };
        assert!(!back_off.is_due(now, room(9)), "nothing is refused");
        let mut waits = Vec::new();
        for _ in 0..9 {
            back_off.note(now, room(5), Want::default());
            waits.push(back_off.due(now).unwrap().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert!(!back_off.is_due(now, room(5)) && back_off.is_due(now, room(6)));
        assert!(back_off.is_due(now + LONGEST, room(0)));
        back_off.note(now, room(3), Want::default());
        assert!(!back_off.is_due(now, room(5)), "so much was tried before");
        back_off.end();
        assert_eq!(back_off.due(now), None);
    }
}
