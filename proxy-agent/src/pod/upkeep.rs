//! Looking after endpoints from time to time: leaks, lost programs, what the plugin wired without us.

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
    Interfaces, Pods,
    collector::{self, Memory, Sweep},
    event::Event,
    local::Local,
};
use crate::{
    datapath::{DatapathError, TcMode},
    model::Owned,
};

/// How often leaks are looked for.
const SWEEP_PERIOD: Duration = Duration::from_mins(1);
/// How often lost programs are.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

impl Pods {
    /// Removes what the plugin could not tell a former agent of, or this one. An ADD of the same key has taken its
    /// tombstone away before it asks.
    pub(super) fn bury(&mut self, interfaces: &dyn Interfaces) -> bool {
        let mut changed = false;
        for key in collector::tombstones(&self.paths) {
            changed |= self.remove(&key, interfaces);
            if let Err(error) = cni_plugin::ledger::remove(&self.paths.tombstone(&key)) {
                tracing::warn!(%error, "tombstone not removed");
            }
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
        let (paths, boot_id, send) = (self.paths.clone(), self.boot_id.clone(), self.send.clone());
        let known = self.known.values().map(|l| l.add.host_ifname.clone());
        let known = known.collect();
        let work = self.config.sweeping.clone();
        tokio::task::spawn_blocking(move || {
            let sweep = work.run(|| collector::sweep(&paths, &boot_id, &known, &mut memory));
            // The receiver goes only with the agent.
            drop(send.blocking_send(Event::Swept(memory, sweep)));
        });
    }

    pub(super) fn swept(
        &mut self,
        memory: Memory,
        sweep: Sweep,
        interfaces: &mut dyn Interfaces,
    ) -> bool {
        self.memory = Some(memory);
        for error in &sweep.errors {
            tracing::warn!(error, "collecting leaks of the plugin");
        }
        let mut changed = false;
        self.adopt(&sweep, interfaces, &mut changed);
        // One that has a record again was added anew since the sweep.
        let is_gone = |key: &Key| !self.paths.attachment(key).exists();
        let dead: Vec<Key> = sweep.dead.into_iter().filter(is_gone).collect();
        for key in dead {
            tracing::info!(container = key.container_id, "dead attachment released");
            changed |= self.remove(&key, interfaces);
        }
        changed |= self.bury(interfaces);
        self.reconcile();
        self.lifting.forgive();
        self.watch(interfaces);
        changed
    }

    /// [`Self::watch`], if it is time to.
    pub(super) fn look(&mut self, interfaces: &mut dyn Interfaces) {
        let now = Instant::now();
        if now >= self.next_look {
            self.next_look = now + LOOK_PERIOD;
            self.watch(interfaces);
        }
    }

    /// Attaches again what someone took off.
    pub(super) fn watch(&mut self, interfaces: &mut dyn Interfaces) {
        self.repairs.expire();
        let locals = self.known.values();
        let all: Vec<u32> = locals.map(|local| local.add.host_ifindex).collect();
        let attached = match attached_twice(&all, interfaces) {
            Ok(attached) => attached,
            Err(error) => {
                tracing::warn!(%error, "attached programs not listed");
                return;
            }
        };
        let had = self.known.iter().filter(|(_, local)| local.mode.is_some());
        let had: BTreeSet<Key> = had.map(|(key, _)| key.clone()).collect();
        for local in self.known.values_mut() {
            local.mode = attached.get(&local.add.host_ifindex).copied();
        }
        let lost = self.known.iter().filter(|(_, local)| local.mode.is_none());
        let lost: Vec<Key> = lost.map(|(key, _)| key.clone()).collect();
        let failed = self.attach_all(lost.clone(), interfaces);
        for local in lost.iter().filter_map(|key| self.known.get(key)) {
            if local.mode.is_some() && had.contains(&local.add.key) {
                let add = &local.add;
                let thing = format!("programs on {} of pod {}", add.host_ifname, add.pod);
                self.repairs.repaired(Owned::PodPrograms, &thing);
            }
        }
        for (key, error) in failed {
            tracing::warn!(
                container = key.container_id,
                error,
                "pod's programs not attached"
            );
        }
    }

    /// Whether an endpoint's interface is another by now: an ADD of the same key, whose plugin ended before it asked.
    fn is_superseded(&self, local: &Local, record: &Attachment) -> bool {
        if local.add.host_ifindex == record.add.host_ifindex {
            return false;
        }
        // As it is now: the sweep's is older than what the plugin may have asked for since.
        let record = Attachment::read(&self.paths.attachment(record.key()));
        record
            .is_ok_and(|r| r.state == State::Ready && r.add.host_ifindex != local.add.host_ifindex)
    }

    /// Brings what is known in step with the plugin's records: takes in those whose ADD
    /// was answered by an agent that ended before it was recorded, forgets what has neither a record nor an interface any more.
    fn adopt(&mut self, sweep: &Sweep, interfaces: &mut dyn Interfaces, changed: &mut bool) {
        // A DEL since the sweep has removed the record.
        let recorded = |record: &&Attachment| self.paths.attachment(record.key()).exists();
        let live = sweep.live.iter().filter(recorded);
        let live = live.chain(sweep.salvaged.iter().map(|one| &one.attachment));
        let live: Vec<&Attachment> = live.collect();
        for record in live {
            match self.known.get(record.key()) {
                None => {}
                Some(local) if self.is_superseded(local, record) => {
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
            let local = Local::new(id, record.add.clone(), record.since);
            self.known.insert(record.key().clone(), local);
            *changed = true;
        }
        let is_gone = |key: &&Key| {
            !self.paths.attachment(key).exists() && !sweep.links.contains_key(&host_ifname(key))
        };
        let gone: Vec<Key> = self.known.keys().filter(is_gone).cloned().collect();
        for key in gone {
            *changed |= self.remove(&key, interfaces);
        }
    }
}

/// How interfaces are attached. One that is being lifted meanwhile may be seen in neither way, so that a second look counts.
fn attached_twice(
    all: &[u32],
    interfaces: &dyn Interfaces,
) -> Result<BTreeMap<u32, TcMode>, DatapathError> {
    let mut attached = interfaces.attached(all)?;
    let missing = all.iter().copied();
    let missing: Vec<u32> = missing
        .filter(|ifindex| !attached.contains_key(ifindex))
        .collect();
    if !missing.is_empty() {
        attached.extend(interfaces.attached(&missing)?);
    }
    Ok(attached)
}
