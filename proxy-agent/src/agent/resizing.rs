//! Maps that grow and shrink while the agent runs: when they fill or are nearly empty, when somebody waits for room, and
//! when the configuration says so.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

use crate::{
    api::Shared,
    datapath::{
        Capacities, Prepared, Resizer,
        capacities::most,
        migrate::size::{self, Use},
    },
    subject::{Room, Subject},
};

/// How often it is looked whether maps are as they should be.
const PERIOD: Duration = Duration::from_secs(1);
/// When it is tried again after the kernel refused, or where maps are as large as they may be.
const AGAIN: Duration = Duration::from_secs(30);
/// Between two exchanges: what waited is written in between.
const REST: Duration = Duration::from_millis(200);

/// What the main loop knows of it.
pub(super) struct Resizing {
    shared: Arc<Shared>,
    resizer: Resizer,
    running: Option<JoinHandle<anyhow::Result<Option<Prepared>>>>,
    /// When to look next.
    next: Instant,
    /// Not before then, whoever waits.
    rest: Instant,
    /// Entries that wait for room, by map.
    more: Room,
}

impl Resizing {
    /// Looks at these maps from now on.
    pub(super) fn new(shared: &Arc<Shared>, resizer: Resizer) -> Self {
        Self {
            shared: Arc::clone(shared),
            resizer,
            running: None,
            next: Instant::now() + PERIOD,
            rest: Instant::now(),
            more: Room::new(),
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
            Ok(None) if !self.more.is_empty() => {
                // No map may grow: until something changes, there is nothing to do.
                self.next = Instant::now() + AGAIN;
                None
            }
            Ok(prepared) => prepared,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "maps keep their capacities; tried again in half a minute"
                );
                self.next = Instant::now() + AGAIN;
                self.rest = self.next;
                None
            }
        }
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
    }

    /// Begins to prepare maps, if some are not as they should be.
    pub(super) fn look(&mut self) {
        if self.running.is_some() || self.next > Instant::now() {
            return;
        }
        self.next = Instant::now() + PERIOD;
        let configured = self.shared.configuration().maps.capacities();
        if !self.suspects(&configured) {
            return;
        }
        let (resizer, more) = (self.resizer.clone(), self.more.clone());
        self.running = Some(spawn_blocking(move || {
            Ok(resizer.prepare(&configured, &more)?)
        }));
    }

    /// Maps were exchanged.
    pub(super) fn done(&mut self) {
        self.rest = Instant::now() + REST;
        self.next = self.rest;
    }

    /// Whether it is worth to count. By what was counted last, which costs nothing, and a sample of the flows, which may
    /// become many in a moment.
    fn suspects(&self, configured: &Capacities) -> bool {
        if !self.more.is_empty() {
            return true;
        }
        let [flows4, flows6] = self.resizer.flows();
        let uses = self.shared.maps().into_iter().map(|map| {
            let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            let now = Use {
                capacity: count(map.max_entries),
                entries: match map.name.as_str() {
                    "FLOWS4" => flows4,
                    "FLOWS6" => flows6,
                    _ => map.entries.map_or(0, count),
                },
                evicts: map.kind == "lru_hash",
                most: most(&map.name),
                ..Use::default()
            };
            (map.name, now)
        });
        let uses: BTreeMap<String, Use> = uses.collect();
        !size::plan(configured, &uses).is_empty()
    }
}
