//! Taking endpoints in and forgetting them.

use std::time::Duration;

use cni_plugin::rpc::{Add, Key, Refusal, Reply, Response};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    Interfaces, Pods,
    entries::Entries,
    fetch::Fetched,
    pods::{Event, Local, name},
    waiting::Waiting,
};
use crate::model::ObjectName;

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
        known: impl Fn(&ObjectName) -> bool,
    ) -> bool {
        let key = add.key.clone();
        // The plugin asks twice only if its first request was lost with an agent.
        self.remove(&key, interfaces);
        let Some(endpoint) = self.ids.take() else {
            let msg = format!("no endpoint id is free ({} in use)", self.known.len());
            refuse(reply, 100, msg, "raise maps.endpoints of the agent");
            return true;
        };
        let (pod, ifindex) = (name(&add), add.host_ifindex);
        let entries = Entries::of([(endpoint, &add)]);
        let mut local = Local::new(endpoint, add);
        // The entry first, so that no packet meets a program that does not know its endpoint. The word of an
        // unused id denies everything.
        let written = self.tables.insert(&entries).map_err(anyhow::Error::from);
        let attached = written.and_then(|_| Ok(interfaces.attach(ifindex)?));
        local.mode = attached.as_ref().ok().copied();
        self.known.insert(key.clone(), local);
        if let Err(error) = attached {
            self.remove(&key, interfaces);
            let msg = format!("pod {pod} cannot be taken in");
            refuse(reply, 101, msg, &format!("{error:#}"));
            return true;
        }
        if !known(&pod) {
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
        let hopeless = match fetched {
            Ok(Some(pod)) => {
                let local = self.known.get_mut(key);
                let found = local.is_some();
                if let Some(local) = local {
                    local.fetched = Some(pod);
                }
                return found;
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
            Some(local) => Response::Ok(Reply { endpoint: local.id }),
            None => Response::Error(Refusal {
                code: 102,
                msg: "the agent does not know this interface".into(),
                details: format!("container {}, interface {}", key.container_id, key.ifname),
            }),
        }
    }

    /// Forgets an endpoint. What cannot be removed now is removed by the next sweep.
    pub(super) fn remove(&mut self, key: &Key, interfaces: &dyn Interfaces) -> bool {
        let Some(local) = self.known.remove(key) else {
            return false;
        };
        self.waiting.retain(|w| w.key != *key);
        let gone = Entries::of([(local.id, &local.add)]);
        if let Err(error) = self.tables.remove(&gone, &self.desired()) {
            tracing::warn!(pod = %local.add.pod, %error, "endpoint not removed");
        }
        self.ids.free(local.id);
        let ifindex = local.add.host_ifindex;
        if !self.known.values().any(|l| l.add.host_ifindex == ifindex)
            && let Err(error) = interfaces.detach(ifindex)
        {
            tracing::warn!(pod = %local.add.pod, %error, "pod's programs not detached");
        }
        true
    }
}

fn refuse(reply: oneshot::Sender<Response>, code: u32, msg: String, details: &str) {
    let details = details.to_owned();
    drop(reply.send(Response::Error(Refusal { code, msg, details })));
}
