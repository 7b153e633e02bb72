//! Resizing: maps that grow and shrink while the agent runs: when they fill or are nearly empty, when somebody waits for room, and
//! when the configuration says so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::upkeep;
use crate::{
    api::Shared,
    datapath::{Capacities, DatapathError, Maps, Prepared, Resizer, SharedDatapath},
    subject::{Room, Subject, growth::InVain},
    usage::in_full,
    watchdog::Work,
};

/// How often it is looked whether maps are as they should be.
const PERIOD: Duration = Duration::from_secs(1);
/// When the same is tried again after the kernel refused, or where maps are as large as they may be.
const AGAIN: Duration = Duration::from_secs(30);
/// After one that came to nothing, for what was written meanwhile.
const OUTGROWN: Duration = Duration::from_secs(5);
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

/// Capacities of maps that were exchanged.
pub(super) type Exchanged = BTreeMap<String, u32>;

/// What is under way, on a thread of its own: who writes maps goes on meanwhile.
enum Running {
    /// Maps are made and filled, and programs for them.
    Preparing(JoinHandle<anyhow::Result<Option<Prepared>>>),
    /// They are put in force; none if they were outgrown.
    Exchanging(JoinHandle<anyhow::Result<Option<Exchanged>>>),
}

/// What the main loop knows of it.
pub(super) struct Resizing {
    shared: Arc<Shared>,
    datapath: SharedDatapath,
    maps: Maps,
    resizer: Resizer,
    preparing: Work,
    exchanging: Work,
    running: Option<Running>,
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
    /// Looks at the maps of this datapath from now on.
    pub(super) fn new(shared: &Arc<Shared>, datapath: &SharedDatapath) -> Self {
        let now = Instant::now();
        let opened = datapath.lock();
        let (maps, resizer) = (opened.maps().clone(), opened.resizer());
        drop(opened);
        Self {
            shared: Arc::clone(shared),
            datapath: datapath.clone(),
            maps,
            resizer,
            preparing: shared.watchdog.work("resizing of maps", LIMIT),
            exchanging: shared.watchdog.work("exchange of maps", LIMIT),
            running: None,
            next: now + PERIOD,
            rest: now,
            more: Room::new(),
            tried: None,
            again: now,
            in_vain: InVain::new(),
        }
    }

    /// Returns when it is time to [`Self::look`], or when maps have been exchanged: those. May be dropped at any time. After an
    /// error some maps are exchanged and others are not: the next start goes on from there.
    pub(super) async fn changed(&mut self) -> anyhow::Result<Option<Exchanged>> {
        match &mut self.running {
            None => sleep_until(self.next).await,
            Some(Running::Preparing(running)) => {
                let done = running.await;
                self.running = None;
                self.prepared(done.context("resize maps").flatten());
            }
            Some(Running::Exchanging(running)) => {
                let done = running.await;
                self.running = None;
                let exchanged = done.context("exchange maps").flatten()?;
                let pause = exchanged.as_ref().map_or(OUTGROWN, |_| PERIOD);
                self.next = Instant::now() + pause;
                return Ok(exchanged);
            }
        }
        Ok(None)
    }

    /// Maps are prepared, or cannot be, or none are to be.
    fn prepared(&mut self, done: anyhow::Result<Option<Prepared>>) {
        self.next = Instant::now() + PERIOD;
        match done {
            Ok(None) if self.more.is_empty() => {}
            Ok(Some(prepared)) => {
                self.note(|map| prepared.has(map));
                self.exchange(prepared);
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
            }
        }
    }

    /// Begins to put maps of other capacities in force.
    fn exchange(&mut self, prepared: Prepared) {
        let (datapath, maps, shared) = (
            self.datapath.clone(),
            self.maps.clone(),
            Arc::clone(&self.shared),
        );
        let work = &self.exchanging;
        let exchanging = work.spawn(move || {
            let began = Instant::now();
            let exchanged = datapath.lock().put_in_force(prepared);
            let exchanged = match exchanged {
                Err(error @ DatapathError::Outgrown { .. }) => {
                    tracing::info!(%error, "maps keep their capacities");
                    return Ok(None);
                }
                exchanged => exchanged.context("exchange maps")?,
            };
            upkeep::count_entries(&shared, &maps);
            tracing::info!(maps = ?exchanged, took = ?began.elapsed(), "maps resized");
            Ok(Some(exchanged))
        });
        self.running = Some(Running::Exchanging(exchanging));
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
        let resizer = self.resizer.clone();
        let prepare = move || Ok(resizer.prepare(&asked.configured, &asked.more)?);
        let work = &self.preparing;
        self.running = Some(Running::Preparing(work.spawn(prepare)));
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
