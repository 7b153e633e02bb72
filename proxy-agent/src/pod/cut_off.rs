//! Pods that have no network, and why: whoever looks is told their names.

use std::{collections::BTreeMap, fmt};

use cni_plugin::rpc::Key;

use super::{Pods, local::Local, pods::name};
use crate::{
    api::messages::CutOffPod,
    model::{EventReason, Kind, Notice, ObjectName, Snapshot},
};

/// Why a pod's interface has no programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The interface is gone.
    Gone,
    /// The kernel does not take them.
    Failed(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("its interface is gone"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// A pod whose interface was gone so long that it was forgotten, and its addresses were given back.
#[derive(Debug)]
pub(super) struct Forgotten {
    uid: String,
    interface: String,
}

/// By name.
pub(super) type AllForgotten = BTreeMap<ObjectName, Forgotten>;

/// A pod without a network.
struct CutOff {
    pod: ObjectName,
    interface: String,
    reason: EventReason,
    why: String,
}

impl Pods {
    /// Forgets an endpoint whose interface is gone though nobody has deleted its pod.
    pub(super) fn lose(&mut self, key: &Key) {
        let Some(Local { add, .. }) = self.known.get(key) else {
            return;
        };
        tracing::warn!(pod = %add.pod, interface = add.host_ifname, "pod forgotten whose interface is gone");
        let forgotten = Forgotten {
            uid: add.pod.uid.clone(),
            interface: add.host_ifname.clone(),
        };
        self.forgotten.insert(name(add), forgotten);
    }

    /// Tells no longer of pods that are gone, or have an interface again.
    pub(super) fn review_forgotten(&mut self, snapshot: &Snapshot) {
        if self.forgotten.is_empty() {
            return;
        }
        for local in self.known.values() {
            self.forgotten.remove(&name(&local.add));
        }
        if !snapshot.complete.has(&[Kind::Pod]) {
            return;
        }
        self.forgotten.retain(|pod, Forgotten { uid, .. }| {
            let pod = snapshot.pods.get(pod);
            pod.is_some_and(|pod| !pod.terminated && (uid.is_empty() || pod.is(uid)))
        });
    }

    fn all_cut_off(&self) -> impl Iterator<Item = CutOff> {
        let served = self.known.values().filter_map(cut_off);
        let forgotten = self.forgotten.iter();
        let forgotten = forgotten.map(|(pod, Forgotten { interface, .. })| CutOff {
            pod: pod.clone(),
            interface: interface.clone(),
            reason: EventReason::InterfaceGone,
            why: format!(
                "its interface {interface} is gone, and its addresses were given back: delete the pod, which makes it anew"
            ),
        });
        served.chain(forgotten)
    }

    /// Pods without a network, for people.
    pub(super) fn cut_off(&self) -> Vec<CutOffPod> {
        let all = self.all_cut_off();
        let all = all.map(|one| CutOffPod {
            pod: one.pod.to_string(),
            interface: one.interface,
            why: one.why,
        });
        all.collect()
    }

    /// What owners of such pods should know.
    pub(super) fn notices_of_cut_off(&self) -> impl Iterator<Item = Notice> {
        self.all_cut_off().map(|one| Notice {
            kind: Kind::Pod,
            object: one.pod,
            reason: one.reason,
            note: format!("the pod has no network: {}", one.why),
        })
    }
}

/// Whether one has no programs, though somebody tried.
fn cut_off(local: &Local) -> Option<CutOff> {
    let interface = &local.add.host_ifname;
    let (reason, why) = match local.fault.as_ref()? {
        Fault::Gone => (
            EventReason::InterfaceGone,
            format!("its interface {interface} is gone: delete the pod, which makes it anew"),
        ),
        Fault::Failed(error) => (
            EventReason::ProgramsNotAttached,
            format!("no programs are on its interface {interface}, which is tried again: {error}"),
        ),
    };
    Some(CutOff {
        pod: name(&local.add),
        interface: interface.clone(),
        reason,
        why,
    })
}
