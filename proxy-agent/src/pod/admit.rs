//! Taking endpoints in and forgetting them.

use std::{sync::Arc, time::Duration};

use cni_plugin::{
    clock,
    rpc::{Add, Key, Refusal, Reply, Response},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    Interfaces, Pods,
    entries::Entries,
    event::Event,
    fetch::Fetched,
    hands::{self, Hung, Job, Side},
    host_port,
    limits::Limits,
    local::Local,
    pods::name,
    waiting::Waiting,
};
use crate::model::{ObjectName, Pod};

/// How long an ADD may wait for policy; less than the plugin waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a live read of a pod may take.
const FETCH_PATIENCE: Duration = Duration::from_secs(5);

impl Pods {
    pub(super) fn add(
        &mut self,
        add: Add,
        reply: oneshot::Sender<Response>,
        interfaces: &mut dyn Interfaces,
        known: impl Fn(&ObjectName, &str) -> Option<Arc<Pod>>,
    ) -> bool {
        let key = add.key.clone();
        if let Err(error) = host_port::of(&add) {
            let msg = format!("hostPorts of pod {} make no sense", add.pod);
            refuse(reply, 7, msg, &error);
            return false;
        }
        if let Err(why) = (self.config.admit)(&add.ips) {
            let msg = format!("pod {} may not have its addresses", add.pod);
            refuse(reply, 11, msg, &why);
            return false;
        }
        if let Some(why) = self.has_another(&add) {
            let msg = format!("pod {} may not have its addresses", add.pod);
            refuse(reply, 11, msg, &why);
            return false;
        }
        // What was begun by or with a pod that had one of these addresses is over.
        self.end_spent_flows();
        // Another id than before: the word of that one may still name rows.
        let endpoint = self.ids.take();
        // The plugin asks twice only if its first request was lost with an agent.
        self.withdraw(&key, "it is asked for anew");
        self.remove(&key, interfaces);
        let Some(endpoint) = endpoint else {
            self.starved = true;
            let msg = format!("no endpoint id is free ({} in use)", self.known.len());
            refuse(
                reply,
                100,
                msg,
                "the runtime tries again, and there is more room soon",
            );
            return true;
        };
        let (pod, uid) = (name(&add), add.pod.uid.clone());
        let mut local = Local::new(endpoint, add, clock::now());
        local.added = Some(Instant::now());
        let observed = known(&pod, &uid);
        local.by_packet = observed.as_ref().is_some_and(|pod| pod.by_packet);
        local
            .limiting
            .begin(Limits::told(local.add.bandwidth.as_ref()));
        let entries = Entries::of([local.entry()]);
        self.known.insert(key.clone(), local);
        if let Some(pod) = &observed {
            self.take_ports(&key, pod.host_ports());
        }
        // The entry before the programs, so that no packet meets one that does not know its endpoint. The word of
        // an unused id denies everything: the main loop sees to it before each event.
        if let Err(error) = self.tables.insert(&entries) {
            self.remove(&key, interfaces);
            refuse_whole(reply, &pod, &error.to_string());
            return true;
        }
        self.fresh.push(key.clone());
        if observed.is_none() {
            self.fetch(key.clone(), pod.clone());
        }
        self.waiting.push(Waiting {
            key,
            endpoint,
            pod: pod.to_string(),
            until: Instant::now() + PATIENCE,
            hopeless: None,
            reply,
        });
        true
    }

    /// Another endpoint that has such an address: who gave it away did not know.
    fn has_another(&self, add: &Add) -> Option<String> {
        let others = self.known.values().map(|local| &local.add);
        let mut others = others.filter(|other| other.key != add.key);
        let (other, ip) = others.find_map(|other| {
            let ip = other.ips.iter().find(|ip| add.ips.contains(ip))?;
            Some((other, ip))
        })?;
        let (pod, interface) = (&other.pod, &other.host_ifname);
        Some(format!("{ip} is that of pod {pod}, interface {interface}"))
    }

    /// Has the programs attached of those that were taken in since the last time: of a whole crowd in one go, because
    /// each request queues for a lock that the crowd's plugins queue for, too. True: [`Self::endpoints`] changed.
    pub fn attach(&mut self, interfaces: &mut dyn Interfaces) -> bool {
        let fresh = std::mem::take(&mut self.fresh);
        let known = fresh.iter().filter_map(|key| self.known.get(key));
        let sides: Vec<Side> = known.map(Local::side).collect();
        !sides.is_empty() && self.give(Job::Attach(sides), interfaces)
    }

    /// Takes note of what came of it. Who has no programs is refused. True: [`Self::endpoints`] changed.
    pub(super) fn note_attached(
        &mut self,
        attached: Vec<Hung>,
        interfaces: &mut dyn Interfaces,
    ) -> bool {
        let (mut done, mut changed) = (Vec::new(), false);
        for (side, outcome) in attached {
            let Some(local) = self.known.get_mut(&side.key).filter(|l| l.id == side.id) else {
                continue; // It went meanwhile.
            };
            match outcome {
                Ok(mode) => {
                    local.hang(Ok(mode));
                    done.push(side.key);
                }
                Err(error) => {
                    let pod = name(&local.add);
                    self.refuse_waiting(&side.key, &pod, &error.to_string());
                    changed |= self.remove(&side.key, interfaces);
                }
            }
        }
        for key in &done {
            self.limit(key, interfaces);
        }
        changed
    }

    fn refuse_waiting(&mut self, key: &Key, pod: &ObjectName, why: &str) {
        if let Some(position) = self.waiting.iter().position(|w| w.key == *key) {
            let reply = self.waiting.swap_remove(position).reply;
            refuse_whole(reply, pod, why);
        }
    }

    /// Gives the thread of pods' programs a job. Before there is one, it is done at once. True: [`Self::endpoints`] changed.
    pub(super) fn give(&mut self, job: Job, interfaces: &mut dyn Interfaces) -> bool {
        if let Some(hands) = &self.hands {
            hands.give(job);
            return false;
        }
        match hands::carry_out(interfaces, job) {
            Some(Event::Attached(attached)) => self.note_attached(attached, interfaces),
            Some(Event::Watched(watched)) => {
                self.note_watched(watched, interfaces);
                false
            }
            Some(Event::Limited(limited)) => {
                self.note_limited(*limited);
                false
            }
            Some(Event::LookedAtLimits(looked)) => {
                self.note_looked(looked, interfaces);
                false
            }
            _ => false,
        }
    }

    pub(super) fn fetch(&self, key: Key, pod: ObjectName) {
        let Some(fetch) = self.config.fetch.clone() else {
            return;
        };
        let send = self.send.clone();
        tokio::spawn(async move {
            let fetched = match timeout(FETCH_PATIENCE, fetch(pod)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(anyhow::anyhow!("no answer within {FETCH_PATIENCE:?}")),
            };
            // The receiver goes only with the agent.
            drop(send.send(Event::Fetched(key, fetched)).await);
        });
    }

    pub(super) fn fetched(&mut self, key: &Key, fetched: Fetched) -> bool {
        let Some(local) = self.known.get_mut(key) else {
            return false;
        };
        let uid = local.add.pod.uid.as_str();
        let hopeless = match fetched {
            Ok(Some(pod)) if pod.is(uid) => {
                local.fetched = Some(Arc::clone(&pod));
                self.take_ports(key, pod.host_ports());
                return true;
            }
            Ok(Some(pod)) => {
                let own = &pod.uid;
                format!("the API server knows a pod of this name, but its UID is {own}, not {uid}")
            }
            Ok(None) => "the API server knows no such pod".to_owned(),
            Err(error) => format!("reading the pod from the API server: {error:#}"),
        };
        if let Some(waiting) = self.waiting.iter_mut().find(|w| w.key == *key) {
            waiting.hopeless = Some(hopeless);
        }
        // Nothing changed, but the ADD must be answered.
        true
    }

    pub(super) fn check(&self, key: &Key) -> Response {
        match self.known.get(key) {
            Some(local) => Response::Ok(Reply {
                endpoint: local.id,
                ports: local.add.ports.clone(),
                bandwidth: None,
            }),
            None => Response::Error(Refusal {
                code: 102,
                msg: "the agent does not know this interface".into(),
                details: format!("container {}, interface {}", key.container_id, key.ifname),
            }),
        }
    }

    /// Tells an ADD that still waits that nothing will come of it.
    pub(super) fn withdraw(&mut self, key: &Key, why: &str) {
        while let Some(position) = self.waiting.iter().position(|w| w.key == *key) {
            let waiting = self.waiting.swap_remove(position);
            let msg = format!("ADD of pod {} was withdrawn while it waited", waiting.pod);
            refuse(waiting.reply, 11, msg, why);
        }
    }

    /// Forgets an endpoint. What cannot be removed now is removed by the next sweep.
    pub(super) fn remove(&mut self, key: &Key, interfaces: &mut dyn Interfaces) -> bool {
        let Some(local) = self.known.remove(key) else {
            return false;
        };
        self.withdraw(
            key,
            "its interface is gone: DEL, or the collector, was there",
        );
        let gone = Entries::of([local.entry()]);
        if let Err(error) = self.tables.remove(&gone, &self.desired()) {
            tracing::warn!(pod = %local.add.pod, %error, "endpoint not removed");
        }
        self.ids.free(local.id);
        self.forget_limits(&local, interfaces);
        let ifindex = local.add.host_ifindex;
        if !self.known.values().any(|l| l.add.host_ifindex == ifindex) {
            let pod = local.add.pod.to_string();
            self.give(Job::Detach(ifindex, pod), interfaces);
        }
        true
    }
}

fn refuse_whole(reply: oneshot::Sender<Response>, pod: &ObjectName, why: &str) {
    refuse(reply, 101, format!("pod {pod} cannot be taken in"), why);
}

fn refuse(reply: oneshot::Sender<Response>, code: u32, msg: String, details: &str) {
    let details = details.to_owned();
    drop(reply.send(Response::Error(Refusal { code, msg, details })));
}
