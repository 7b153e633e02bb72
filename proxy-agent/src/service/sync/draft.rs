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

/// New entries by map: frontends, backends, slots, members, source ranges.
pub(super) type Needs = [usize; 8];

/// Choices of plans.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The last ids.
    pub(super) ids: Ids,
    backends4: HashMap<Backend4, u32>,
    backends6: HashMap<Backend6, u32>,
    frontends: HashSet<FrontendKey>,
    /// How much room they need.
    pub(super) needs: Needs,
}

impl Draft {
    /// Nothing was planned after these ids.
    pub(super) fn after(ids: Ids) -> Self {
        Self {
            ids,
            ..Self::default()
        }
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
        let known = image.pool4.id(value);
        known.unwrap_or_else(|| choose(&mut self.backends4, &mut self.ids, image, value))
    }

    /// The id of a backend of IPv6.
    pub(super) fn backend6(&mut self, image: &Image, value: Backend6) -> u32 {
        let known = image.pool6.id(value);
        known.unwrap_or_else(|| choose(&mut self.backends6, &mut self.ids, image, value))
    }

    /// Adds a plan; false if another one writes the same frontend.
    pub(super) fn add(&mut self, plan: &Plan, needs: &Needs) -> bool {
        for (sum, more) in self.needs.iter_mut().zip(needs) {
            *sum += more;
        }
        plan.frontends.iter().all(|step| match step {
            Step::Frontend(key, _) => self.frontends.insert(*key),
            _ => true,
        })
    }
}

fn choose<B: Backend>(chosen: &mut HashMap<B, u32>, ids: &mut Ids, image: &Image, value: B) -> u32 {
    *chosen.entry(value.identity()).or_insert_with(|| {
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
