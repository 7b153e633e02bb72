//! Degradation: policies give way until the rest fits, and the rest goes on. As long as maps may grow, those that give way wait: for pods
//! that are there they are as they were. Else they are refused, and the pods that they select are denied.

use std::{collections::HashSet, sync::Arc, time::Instant};

use super::PolicyEngine;
use crate::policy::{
    PolicyError,
    effective::{Want, in_order},
    plan::{Change, Plan, Wanted},
    version::{PolicyVersion, Versions},
};

/// What becomes of policies that give way.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// They wait, but for those that have waited long enough by now.
    Wait(Instant),
    Refuse,
}

/// What is wanting, and what can be done; none if all is to stay as it is.
type Way = (Want, Option<(Change, Plan)>);

impl PolicyEngine {
    /// Lets policies give way until the rest fits: as few as may be, but for those that are smaller than another one.
    pub(super) fn give_way(
        &mut self,
        now: Instant,
        error: &PolicyError,
    ) -> Result<Way, PolicyError> {
        let order = in_order(&self.in_use(), &self.good);
        let (mut want, before) = (Want::default(), self.effective.clone());
        want.note(error);
        if self.is_patient(&want) && self.knows_what_is_in_force() {
            let planned = self.without(&order, Manner::Wait(now), &mut want);
            if self.is_patient(&want) && !planned.as_ref().is_err_and(PolicyError::is_want_of_room)
            {
                return planned.map(|planned| (want, Some(planned)));
            }
            if let Ok((_, plan)) = planned {
                self.abandon(&plan);
            }
            self.effective = before;
            self.wanted = None;
        }
        if self.is_patient(&want) && self.standstill.may(now) {
            return Ok((want, None));
        }
        let planned = self.without(&order, Manner::Refuse, &mut want)?;
        Ok((want, Some(planned)))
    }

    fn is_patient(&self, want: &Want) -> bool {
        self.may_grow(want.maps.keys().copied())
    }

    /// Of what a former agent left it is not known which policies it is made of.
    fn knows_what_is_in_force(&self) -> bool {
        self.standstill.settled || self.in_force.is_empty()
    }

    /// Plans without the first of these, so many as must give way.
    fn without(
        &mut self,
        order: &[Arc<PolicyVersion>],
        manner: Manner,
        want: &mut Want,
    ) -> Result<(Change, Plan), PolicyError> {
        let (mut enough, mut too_few) = (1, 0);
        while let Err(error) = self.try_without(order, enough, manner) {
            want.note(&error);
            if enough >= order.len() || !error.is_want_of_room() {
                return Err(error);
            }
            too_few = enough;
            enough = (2 * enough).min(order.len());
        }
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            match self.try_without(order, middle, manner) {
                Ok(()) => enough = middle,
                Err(error) if error.is_want_of_room() => {
                    want.note(&error);
                    too_few = middle;
                }
                Err(error) => return Err(error),
            }
        }
        let give_way = &order[..enough.min(order.len())];
        self.put_aside(give_way, manner);
        for version in give_way {
            let name = &version.policy.name;
            match manner {
                Manner::Wait(now) if self.effective.waiting.contains_key(name) => {
                    self.waits.begin(name, now);
                }
                Manner::Wait(_) | Manner::Refuse => self.waits.give_up(name),
            }
        }
        self.wish(true, HashSet::new())
    }

    fn try_without(
        &mut self,
        order: &[Arc<PolicyVersion>],
        count: usize,
        manner: Manner,
    ) -> Result<(), PolicyError> {
        let before = self.effective.clone();
        self.put_aside(&order[..count.min(order.len())], manner);
        let planned = self.wish(true, HashSet::new());
        self.effective = before;
        self.wanted = None;
        let (_, plan) = planned?;
        self.abandon(&plan);
        Ok(())
    }

    fn put_aside(&mut self, versions: &[Arc<PolicyVersion>], manner: Manner) {
        for version in versions {
            match manner {
                Manner::Wait(now) if self.waits.may(&version.policy.name, now) => {
                    self.effective.hold(version);
                }
                Manner::Wait(_) | Manner::Refuse => self.effective.refuse(version),
            }
        }
        self.wanted = None;
    }

    /// The policies that count and judge pods of this node.
    fn in_use(&self) -> Versions {
        let rows = self.wanted.iter().flat_map(|wanted| wanted.rows.values());
        let keys = rows.flatten().filter_map(|wanted| match wanted {
            Wanted::Row(key) => Some(key),
            Wanted::Deny | Wanted::Allow => None,
        });
        let versions = keys.flat_map(|key| &key.policies);
        let counts =
            |v: &&Arc<PolicyVersion>| self.effective.versions.get(&v.policy.name) == Some(*v);
        versions.filter(counts).cloned().collect()
    }
}
