//! What plans have chosen that are not carried out yet: ids, frontends, room. Whoever plans after them takes it for taken;
//! where they are not carried out it is dropped, and nothing is to be undone.

use std::collections::{HashMap, HashSet};

use proxy_common::backends::{Backend4, Backend6};

use super::Ids;
use crate::service::{
    image::Image,
    key::FrontendKey,
    plan::{Plan, Step},
    pool::Backend,
};

/// Entries by map, as [`Step::map`] numbers them.
pub(super) type Needs = [usize; 8];

/// Choices of plans.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The last ids.
    pub(super) ids: Ids,
    own: Choices,
    /// Of those who are being written.
    before: Choices,
}

/// What was chosen for some who are carried out together.
#[derive(Debug, Default)]
struct Choices {
    backends4: HashMap<Backend4, u32>,
    backends6: HashMap<Backend6, u32>,
    frontends: HashSet<FrontendKey>,
    /// How much room they need.
    needs: Needs,
    /// How many plans these are of.
    plans: usize,
}

impl Draft {
    /// Nothing was planned after these ids.
    pub(super) fn after(ids: Ids) -> Self {
        Self {
            ids,
            ..Self::default()
        }
    }

    /// From here on choices are for others, who come after those: what was chosen before those is known by now.
    pub(super) fn follow(&mut self) {
        std::mem::swap(&mut self.own, &mut self.before);
        self.own.clear();
    }

    /// Whether there is no plan that is not carried out yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.own.plans + self.before.plans == 0
    }

    /// How much room they need.
    pub(super) fn needs(&self) -> Needs {
        let mut sum = self.own.needs;
        for (sum, more) in sum.iter_mut().zip(self.before.needs) {
            *sum += more;
        }
        sum
    }

    /// The next id of a Service port. Nothing but frontends refers to these ids, and ids only grow: it is free.
    pub(super) fn service(&mut self) -> u32 {
        next(&mut self.ids.service, |_| false)
    }

    /// The next id of a set.
    pub(super) fn set(&mut self, image: &Image) -> u32 {
        next(&mut self.ids.set, |id| !image.slots(id).is_empty())
    }

    /// The id of a backend of IPv4.
    pub(super) fn backend4(&mut self, image: &Image, value: Backend4) -> u32 {
        let identity = value.identity();
        let known = image.pool4.id(value);
        let known = known.or_else(|| self.before.backends4.get(&identity).copied());
        let own = &mut self.own.backends4;
        known.unwrap_or_else(|| choose(own, &mut self.ids, image, identity))
    }

    /// The id of a backend of IPv6.
    pub(super) fn backend6(&mut self, image: &Image, value: Backend6) -> u32 {
        let identity = value.identity();
        let known = image.pool6.id(value);
        let known = known.or_else(|| self.before.backends6.get(&identity).copied());
        let own = &mut self.own.backends6;
        known.unwrap_or_else(|| choose(own, &mut self.ids, image, identity))
    }

    /// Adds a plan; false if another one writes the same frontend.
    pub(super) fn add(&mut self, plan: &Plan, needs: &Needs) -> bool {
        let Self { own, before, .. } = self;
        own.plans += 1;
        for (sum, more) in own.needs.iter_mut().zip(needs) {
            *sum += more;
        }
        plan.frontends.iter().all(|step| match step {
            Step::Frontend(key, _) => !before.frontends.contains(key) && own.frontends.insert(*key),
            _ => true,
        })
    }
}

impl Choices {
    fn clear(&mut self) {
        self.backends4.clear();
        self.backends6.clear();
        self.frontends.clear();
        self.needs = Needs::default();
        self.plans = 0;
    }
}

fn choose<B: Backend>(
    chosen: &mut HashMap<B, u32>,
    ids: &mut Ids,
    image: &Image,
    identity: B,
) -> u32 {
    *chosen.entry(identity).or_insert_with(|| {
        let taken = |id| image.pool4.knows(id) || image.pool6.knows(id);
        next(&mut ids.backend, taken)
    })
}

/// The next id that is not taken. Zero is none.
fn next(last: &mut u32, taken: impl Fn(u32) -> bool) -> u32 {
    loop {
        *last = last.wrapping_add(1).max(1);
        if !taken(*last) {
            return *last;
        }
    }
}
