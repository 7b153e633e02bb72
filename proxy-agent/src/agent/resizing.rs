//! Resizing: maps that grow and shrink while the agent runs: when they fill or are nearly empty, when somebody waits for room, and
//! when the configuration says so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    api::Shared,
    datapath::{Capacities, Prepared, Resizer},
    subject::{Room, Subject, growth::InVain},
    usage::in_full,
    watchdog::Work,
};

/// How often it is looked whether maps are as they should be.
const PERIOD: Duration = Duration::from_secs(1);
/// When the same is tried again after the kernel refused, or where maps are as large as they may be.
const AGAIN: Duration = Duration::from_secs(30);
/// Between two exchanges: what waited is written in between.
const REST: Duration = Duration::from_millis(200);

/// How long it may take to make maps and fill them, and programs for them.
const LIMIT: Duration = Duration::from_mins(2);

/// What is asked of the maps: what is configured, and how many entries wait for room, by map.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    configured: Capacities,
    more: Room,
}

/// What the main loop knows of it.
pub(super) struct Resizing {
    shared: Arc<Shared>,
    resizer: Resizer,
    work: Work,
    running: Option<JoinHandle<anyhow::Result<Option<Prepared>>>>,
    /// When to look next.
    next: Instant,
    /// Not before then, whoever waits.
    rest: Instant,
    /// Entries that wait for room, by map.
    more: Room,
    /// What was tried last.
    tried: Option<Asked>,
    /// When the same may be tried again.
    again: Instant,
    /// Maps that wait for room and do not grow.
    in_vain: InVain,
}

impl Resizing {
    /// Looks at these maps from now on.
    pub(super) fn new(shared: &Arc<Shared>, resizer: Resizer) -> Self {
        let now = Instant::now();
        Self {
            shared: Arc::clone(shared),
            resizer,
            work: shared.watchdog.work("resizing of maps", LIMIT),
            running: None,
            next: now + PERIOD,
            rest: now,
            more: Room::new(),
            tried: None,
            again: now,
            in_vain: InVain::new(),
        }
    }

    /// Returns when it is time to [`Self::look`], or when maps are prepared: those. May be dropped at any time.
    pub(super) async fn changed(&mut self) -> Option<Prepared> {
        let Some(running) = &mut self.running else {
            sleep_until(self.next).await;
            return None;
        };
        let done = running.await;
        self.running = None;
        self.next = Instant::now() + PERIOD;
        match done.context("resize maps").flatten() {
            Ok(None) if self.more.is_empty() => None,
            Ok(Some(prepared)) => {
                self.note(|map| prepared.has(map));
                Some(prepared)
            }
            done => {
                self.again = Instant::now() + AGAIN;
                self.note(|_| false);
                if let Err(error) = done {
                    let error = in_full(&error);
                    tracing::error!(
                        error,
                        "maps keep their capacities; tried again in half a minute"
                    );
                }
                None
            }
        }
    }

    /// Notes which of the maps that were wanted larger do grow.
    fn note(&mut self, grows: impl Fn(&str) -> bool) {
        let wanted = self.tried.iter().flat_map(|asked| asked.more.keys());
        let (grow, in_vain): (Vec<_>, Vec<_>) = wanted.cloned().partition(|map| grows(map));
        self.in_vain.retain(|map| !grow.contains(map));
        self.in_vain.extend(in_vain);
        self.forget();
    }

    /// Nobody has waited in vain who does not wait.
    fn forget(&mut self) {
        self.in_vain.retain(|map| self.more.contains_key(map));
    }

    /// The maps that do not grow, though somebody waits for room in them.
    pub(super) const fn in_vain(&self) -> &InVain {
        &self.in_vain
    }

    /// Notes who waits for room, and looks at once if that is new.
    pub(super) fn listen(&mut self, subjects: &[&dyn Subject]) {
        let mut more = Room::new();
        for subject in subjects {
            subject.waits_for_room(&mut more);
        }
        if !more.is_empty() && more != self.more {
            self.next = self.next.min(self.rest);
        }
        self.more = more;
        self.forget();
    }

    /// Begins to prepare maps, if some are not as they should be.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        if self.running.is_some() || self.next > now {
            return;
        }
        self.next = now + PERIOD;
        let asked = Asked {
            configured: self.shared.configuration().maps.capacities(),
            more: self.more.clone(),
        };
        let in_vain = self.tried.as_ref() == Some(&asked) && self.again > now;
        if in_vain {
            self.in_vain.extend(asked.more.keys().cloned());
        } else if self.tried.as_ref().map(|tried| &tried.configured) != Some(&asked.configured) {
            // There may be other memory now.
            self.in_vain.clear();
        }
        if in_vain || !self.suspects(&asked.configured) {
            return;
        }
        self.tried = Some(asked.clone());
        let (resizer, work) = (self.resizer.clone(), &self.work);
        let prepare = move || Ok(resizer.prepare(&asked.configured, &asked.more)?);
        self.running = Some(work.spawn(prepare));
    }

    /// Maps were exchanged.
    pub(super) fn done(&mut self) {
        self.rest = Instant::now() + REST;
        self.next = self.rest;
        self.again = self.rest;
        // Others may have been made smaller.
        self.in_vain.clear();
    }

    /// Whether it is worth to count.
    fn suspects(&self, configured: &Capacities) -> bool {
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let counted = self.shared.maps().into_iter();
        let counted: BTreeMap<String, u32> = counted
            .map(|map| (map.name, map.entries.map_or(0, count)))
            .collect();
        !self.more.is_empty() || self.resizer.suspects(configured, &counted)
    }
}
