//! Self-healing: looking after endpoints from time to time: leaks, lost programs, what the plugin wired without us.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cni_plugin::{
    attachment::{Attachment, State},
    rpc::Key,
    wiring::name::host_ifname,
};
use tokio::time::Instant;

use super::{
    Interfaces, Pods, collector,
    cut_off::Fault,
    event::Event,
    hands::{Job, Watched},
    local::{Identity, Local},
    swept::Swept,
};
use crate::{model::Owned, subject::Asked, watchdog::Work};

/// How often leaks are looked for.
const SWEEP_PERIOD: Duration = Duration::from_mins(1);
/// More pods than that are told by their number.
const NAMED: usize = 3;
/// How often lost programs are.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

impl Pods {
    /// Removes what the plugin could not tell a former agent of, or this one. An ADD of the same key has taken its
    /// tombstone away before it asks.
    pub(super) fn bury(&mut self, tombstones: Vec<Key>, interfaces: &mut dyn Interfaces) -> bool {
        let mut changed = false;
        for key in tombstones {
            changed |= self.remove(&key, interfaces);
            let tombstone = self.paths.tombstone(&key);
            self.give(Job::Bury(tombstone), interfaces);
        }
        changed
    }

    pub(super) fn sweep(&mut self) {
        if Instant::now() < self.next_sweep {
            return;
        }
        let Some(mut memory) = self.memory.take() else {
            return;
        };
        self.next_sweep = Instant::now() + SWEEP_PERIOD;
        let (paths, boot_id) = (self.paths.clone(), self.boot_id.clone());
        let names = self.known.values().map(|l| l.add.host_ifname.clone());
        let names = names.collect();
        let keys: Vec<Key> = self.known.keys().cloned().collect();
        self.meanwhile.clear();
        self.beside(&self.config.works.sweeping, move || {
            let sweep = collector::sweep(&paths, &boot_id, &names, &mut memory);
            Event::Swept(Box::new(Swept::new(&paths, &keys, memory, sweep)))
        });
    }

    /// Does a work that may block, for the event that comes of it. Where it panics none comes: it is not begun anew, and the
    /// watchdog names it.
    pub(super) fn beside(&self, work: &Work, job: impl FnOnce() -> Event + Send + 'static) {
        let send = self.send.clone();
        let done = work.spawn(move || {
            // The receiver goes only with the agent.
            drop(send.blocking_send(job()));
        });
        drop(done);
    }

    /// Follows what a sweep found. Whom the plugin has asked for since it began is left for the next one: it may have been
    /// added or deleted since.
    pub(super) fn swept(&mut self, swept: Swept, interfaces: &mut dyn Interfaces) -> bool {
        for error in &swept.sweep.errors {
            tracing::warn!(error, "collecting leaks of the plugin");
        }
        let mut changed = false;
        self.adopt(&swept, interfaces, &mut changed);
        // One that has a record again was added anew since the sweep.
        let meanwhile = std::mem::take(&mut self.meanwhile);
        let is_gone = |key: &Key| !swept.recorded.contains(key) && !meanwhile.contains(key);
        for key in swept.sweep.dead.into_iter().filter(is_gone) {
            self.lose(&key);
            changed |= self.remove(&key, interfaces);
        }
        let tombstones = swept.tombstones.into_iter();
        let tombstones = tombstones.filter(|key| !meanwhile.contains(key));
        changed |= self.bury(tombstones.collect(), interfaces);
        self.memory = Some(swept.memory);
        self.reconcile();
        self.lifting.forgive();
        if !self.watch(interfaces) {
            // As soon as the one that is under way has ended.
            self.next_look = Instant::now();
        }
        changed
    }

    /// [`Self::watch`], if it is time to.
    pub(super) fn look(&mut self, interfaces: &mut dyn Interfaces) {
        let now = Instant::now();
        if now >= self.next_look && self.watch(interfaces) {
            self.next_look = now + LOOK_PERIOD;
        }
    }

    /// Has looked whether all have their programs, unless that is under way.
    pub(super) fn watch(&mut self, interfaces: &mut dyn Interfaces) -> bool {
        self.repairs.expire();
        let begins = !std::mem::replace(&mut self.watched, true);
        if begins {
            self.asked.begin();
            let all = self.known.values().map(Local::side).collect();
            self.give(Job::Watch(all), interfaces);
        }
        begins
    }

    /// Takes note of what a look found, and of what it put back.
    pub(super) fn note_watched(
        &mut self,
        watched: Option<Watched>,
        interfaces: &mut dyn Interfaces,
    ) {
        self.watched = false;
        self.asked.end();
        let Watched {
            looked,
            mut attached,
            put_back,
        } = watched.unwrap_or_default();
        let mut lost = BTreeSet::new();
        let mut faults = BTreeMap::new();
        let many = put_back.len() > NAMED;
        if many {
            self.repairs.gather();
        }
        for (side, outcome) in put_back {
            match outcome {
                Ok(mode) => {
                    lost.insert(side.ifindex);
                    attached.insert(side.ifindex, mode);
                }
                Err(fault) => {
                    faults.insert(side.ifindex, fault);
                }
            }
        }
        for side in looked {
            let Some(local) = self.known.get_mut(&side.key).filter(|l| l.id == side.id) else {
                continue; // It went meanwhile.
            };
            let had = local.mode.is_some();
            let outcome = match (attached.get(&side.ifindex), faults.get(&side.ifindex)) {
                (Some(mode), _) => Ok(*mode),
                (None, Some(fault)) => Err(fault.clone()),
                // Whoever lists them has forgotten it.
                (None, None) => Err(Fault::Failed("none was listed".to_owned())),
            };
            local.hang(outcome);
            if had && lost.contains(&side.ifindex) {
                let add = &local.add;
                let thing = format!("programs on {} of pod {}", add.host_ifname, add.pod);
                self.repairs.repaired(Owned::PodPrograms, &thing);
            }
        }
        if many {
            let thing = |many| format!("programs on the interfaces of {many} pods");
            self.repairs.gathered(thing);
        }
        // Somebody has asked since it began.
        if self.asked == Asked::Waits {
            self.watch(interfaces);
        }
    }

    /// Brings what is known in step with the plugin's records: takes in those whose ADD
    /// was answered by an agent that ended before it was recorded, forgets what has neither a record nor an interface any more.
    fn adopt(&mut self, swept: &Swept, interfaces: &mut dyn Interfaces, changed: &mut bool) {
        let Swept {
            sweep, recorded, ..
        } = swept;
        // A DEL since the sweep has removed the record.
        let live = sweep.live.iter().filter(|r| recorded.contains(r.key()));
        let live = live.map(|record| (record, true));
        let salvaged = sweep.salvaged.iter();
        let salvaged = salvaged.map(|one| (&one.attachment, false));
        let live: Vec<(&Attachment, bool)> = live
            .chain(salvaged)
            .filter(|(record, _)| !self.meanwhile.contains(record.key()))
            .collect();
        for (record, has_record) in live {
            self.name(record.key());
            match self.known.get(record.key()) {
                None => {}
                Some(local) if has_record && is_superseded(local, record) => {
                    self.remove(record.key(), interfaces);
                }
                Some(_) => continue,
            }
            // As for an ADD: what a pod that is gone had begun is not this one's.
            self.end_spent_flows();
            let Some(id) = self.ids.take() else {
                tracing::warn!(pod = %record.add.pod, "no endpoint id is free");
                continue;
            };
            tracing::info!(pod = %record.add.pod, "pod taken in that was wired without us");
            let local = Local::of(id, record.clone(), !has_record);
            self.compared &= local.identity == Identity::Known;
            self.known.insert(record.key().clone(), local);
            *changed = true;
        }
        let is_gone = |key: &&Key| {
            !recorded.contains(*key)
                && !sweep.links.contains_key(&host_ifname(key))
                && !self.meanwhile.contains(*key)
        };
        let gone: Vec<Key> = self.known.keys().filter(is_gone).cloned().collect();
        for key in gone {
            // Else a DEL of which no agent has heard.
            if !swept.tombstones.contains(&key) {
                self.lose(&key);
            }
            *changed |= self.remove(&key, interfaces);
        }
    }
}

/// Whether an endpoint's interface is another by now: an ADD of the same key, whose plugin ended before it asked.
fn is_superseded(local: &Local, record: &Attachment) -> bool {
    record.state == State::Ready && record.add.host_ifindex != local.add.host_ifindex
}
