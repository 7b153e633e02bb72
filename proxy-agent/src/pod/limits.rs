//! Limits of bandwidth of this node's pods: which are wanted, by whom, and whether they are in force.
//!
//! The Pod's annotations have the last word on what they speak of, also when they change; on the rest what the runtime told
//! of this interface alone. Nothing is changed before the Pod is known: after a restart the kernel has what was in force.

pub(super) mod kernel;

pub(super) mod jobs;
mod look;
mod tell;

pub use jobs::{Limited, Look, Looked};
pub use kernel::clear;
pub(super) use look::Watching;

use std::io;

use cni_plugin::{
    rpc::{Bandwidth, Key},
    wiring::bucket::Limit,
};
use proxy_common::endpoints::{ENDPOINT_PACED, ENDPOINT_QUEUED, ENDPOINT_SHAPED};

use super::{Interfaces, Missing, Pods, entries::Entries, hands::Job, local::Local};
use crate::model::{Asked, AskedLimits};

/// Why they are not in force yet.
const BEGUN: &str = "they are being brought in force";

/// Limits of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Towards the pod.
    pub ingress: Option<Limit>,
    /// From the pod.
    pub egress: Option<Limit>,
}

impl Limits {
    /// As a runtime tells them.
    pub(super) fn told(told: Option<&Bandwidth>) -> Self {
        let told = told.cloned().unwrap_or_default();
        Self {
            ingress: Limit::new(told.ingress_rate, told.ingress_burst),
            egress: Limit::new(told.egress_rate, told.egress_burst),
        }
    }

    /// `ENDPOINT_*` bits by which the programs know of them.
    const fn flags(self, ways: Ways) -> u32 {
        let ingress = match (self.ingress, ways.ingress) {
            (None, _) => 0,
            (Some(_), Some(Way::Edt)) => ENDPOINT_SHAPED | ENDPOINT_PACED,
            (Some(_), _) => ENDPOINT_SHAPED,
        };
        let egress = if self.egress.is_some() {
            ENDPOINT_QUEUED
        } else {
            0
        };
        ingress | egress
    }
}

/// How a direction is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By times of departure, to which a queue keeps (`fq`).
    Edt,
    /// By a token bucket (`tbf`).
    Bucket,
}

/// How the limits of an interface are in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// Towards the pod.
    pub ingress: Option<Way>,
    /// From the pod.
    pub egress: Option<Way>,
}

/// What came of putting limits in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Something had to be done.
    pub changed: bool,
    /// How they are in force.
    pub ways: Ways,
}

/// Why limits are not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The kernel has neither way: the pod runs without.
    Impossible(String),
    /// Something else failed.
    Failed(String),
}

/// What is known of the limits of one interface.
#[derive(Debug, Default)]
pub(super) struct Limiting {
    /// None: nobody has said yet.
    wanted: Option<Limits>,
    /// What the Pod asked for last.
    asked: Option<AskedLimits>,
    /// What its annotations ask for that makes no sense.
    nonsense: Vec<String>,
    fault: Option<Fault>,
    /// They are being brought in force.
    pending: bool,
    /// How they are in force.
    ways: Ways,
    /// As `ENDPOINTS` has them.
    pub(super) flags: u32,
}

impl Limiting {
    /// Of a new interface.
    pub(super) const fn begin(&mut self, wanted: Limits) {
        self.wanted = Some(wanted);
    }

    /// Whether the Pod asks for something else than it did.
    pub(super) fn differs(&self, asked: Option<&AskedLimits>) -> bool {
        match (&self.asked, asked) {
            (None, _) => true,
            (Some(former), None) => *former != AskedLimits::default(),
            (Some(former), Some(asked)) => former != asked,
        }
    }

    const fn is_limited(&self) -> bool {
        match self.wanted {
            Some(wanted) => wanted.flags(self.ways) | self.flags != 0,
            None => self.flags != 0,
        }
    }

    /// What an ADD still waits for.
    pub(super) fn missing(&self) -> Option<Missing> {
        if let Some(why) = self.nonsense.first() {
            return Some(Missing::Sense(why.clone()));
        }
        match &self.fault {
            Some(Fault::Failed(why)) => Some(Missing::Limits(why.clone())),
            Some(Fault::Impossible(_)) => None,
            None => self.pending.then(|| Missing::Limits(BEGUN.to_owned())),
        }
    }
}

/// An interface and its limits, for the kernel.
#[derive(Clone, Debug)]
pub struct Side {
    /// Whose.
    pub key: Key,
    /// Name of the host's side.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MTU, as the plugin made it; 0 if unknown.
    pub mtu: u32,
    /// What it should have.
    pub limits: Limits,
}

impl Side {
    fn of(local: &Local) -> Option<Self> {
        Some(Self {
            key: local.add.key.clone(),
            name: local.add.host_ifname.clone(),
            index: local.add.host_ifindex,
            mtu: local.mtu(),
            limits: local.limiting.wanted?,
        })
    }
}

/// One direction of what is wanted.
fn decide(asked: &Asked, own: Option<Limit>, burst: u64, was: Option<Limit>) -> Option<Limit> {
    match asked {
        None => own,
        Some(Ok(rate)) => Limit::new(*rate, burst),
        // As it was.
        Some(Err(_)) => was,
    }
}

impl Local {
    /// Takes what a Pod's annotations ask for. `begins`: the runtime has read them too, and told the same.
    fn ask(&mut self, asked: AskedLimits, begins: bool) {
        let told = self.add.bandwidth.get_or_insert_default();
        if begins && asked.ingress.is_some() {
            told.ingress_rate = 0;
        }
        if begins && asked.egress.is_some() {
            told.egress_rate = 0;
        }
        let bursts = (told.ingress_burst, told.egress_burst);
        let own = Limits::told(self.add.bandwidth.as_ref());
        let was = self.limiting.wanted.unwrap_or(own);
        self.limiting.wanted = Some(Limits {
            ingress: decide(&asked.ingress, own.ingress, bursts.0, was.ingress),
            egress: decide(&asked.egress, own.egress, bursts.1, was.egress),
        });
        let nonsense = [&asked.ingress, &asked.egress].into_iter().flatten();
        let nonsense = nonsense.filter_map(|asked| asked.as_ref().err().cloned());
        self.limiting.nonsense = nonsense.collect();
        if let Some(why) = self.limiting.nonsense.first() {
            tracing::warn!(pod = %self.add.pod, why, "limits of bandwidth stay as they are");
        }
        self.limiting.asked = Some(asked);
    }
}

impl Pods {
    /// Follows what a Pod asks for.
    pub(super) fn ask_limits(
        &mut self,
        key: &Key,
        asked: Option<&AskedLimits>,
        interfaces: &mut dyn Interfaces,
    ) {
        let begins = self.waiting.iter().any(|waiting| waiting.key == *key);
        let Some(local) = self.known.get_mut(key) else {
            return;
        };
        let former = local.limiting.wanted;
        local.ask(asked.cloned().unwrap_or_default(), begins);
        if local.limiting.wanted != former {
            self.limit(key, interfaces);
        }
    }

    /// Has the limits of an interface brought in force. Its packets are led into a queue only while that is there.
    pub(super) fn limit(&mut self, key: &Key, interfaces: &mut dyn Interfaces) {
        let is_due =
            |(_, of): &(Side, &Limiting)| of.is_limited() || of.pending || of.fault.is_some();
        let Some((side, limiting)) = self.side(key).filter(is_due) else {
            return;
        };
        // Those by departure times go on while they are changed.
        let same_ways = Ways {
            ingress: Some(Way::Edt),
            ..Ways::default()
        };
        let kept = limiting.flags & side.limits.flags(same_ways);
        self.flag(key, kept);
        let Some(local) = self.known.get_mut(key) else {
            return;
        };
        local.limiting.pending = true;
        let job = Job::Limit(local.id, side);
        self.give(job, interfaces);
    }

    /// Takes note of what came of it, unless something else is wanted by now: there is another job for that.
    pub(super) fn note_limited(&mut self, limited: Limited) {
        let Limited { id, side, outcome } = limited;
        let local = self.known.get_mut(&side.key);
        let wants =
            |local: &&mut Local| local.id == id && local.limiting.wanted == Some(side.limits);
        let Some(local) = local.filter(wants) else {
            return;
        };
        local.limiting.pending = false;
        local.limiting.ways = *outcome.as_ref().unwrap_or(&Ways::default());
        let flags = outcome.as_ref().map_or(0, |ways| side.limits.flags(*ways));
        self.flag(&side.key, flags);
        self.note(&side.key, outcome.err());
    }

    fn side(&self, key: &Key) -> Option<(Side, &Limiting)> {
        let local = self.known.get(key)?;
        Some((Side::of(local)?, &local.limiting))
    }

    fn note(&mut self, key: &Key, fault: Option<Fault>) {
        let Some(local) = self.known.get_mut(key) else {
            return;
        };
        if local.limiting.fault != fault {
            if let Some(Fault::Impossible(why) | Fault::Failed(why)) = &fault {
                tracing::warn!(pod = %local.add.pod, why, "limits of bandwidth not in force");
            }
            local.limiting.fault = fault;
        }
    }

    /// Tells the programs.
    fn flag(&mut self, key: &Key, flags: u32) {
        let Some(local) = self.known.get_mut(key) else {
            return;
        };
        if std::mem::replace(&mut local.limiting.flags, flags) == flags {
            return;
        }
        let entries = Entries::of([local.entry()]);
        if let Err(error) = self.tables.insert(&entries) {
            tracing::warn!(pod = %local.add.pod, %error, "endpoint not in step; tried again by the next sweep");
        }
    }

    /// Of a pod that is gone.
    pub(super) fn forget_limits(&mut self, local: &Local, interfaces: &mut dyn Interfaces) {
        let limiting = &local.limiting;
        if limiting.pending || limiting.flags & (ENDPOINT_SHAPED | ENDPOINT_QUEUED) != 0 {
            let (key, pod) = (local.add.key.clone(), local.add.pod.to_string());
            let job = Job::ForgetLimits(key, local.add.host_ifindex, pod);
            self.give(job, interfaces);
        }
    }
}

fn fault(error: &io::Error) -> Fault {
    if error.raw_os_error() == Some(libc::ENOENT) {
        Fault::Impossible(
            "the pod runs without limits of bandwidth: the node's kernel has neither CONFIG_NET_SCH_FQ \
             nor CONFIG_NET_SCH_TBF"
                .to_owned(),
        )
    } else {
        Fault::Failed(error.to_string())
    }
}
