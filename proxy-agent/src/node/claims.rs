//! Ranges of pods that nodes claim themselves (`ipam: cluster`).
//!
//! All claims are in one object, and each is a compare-and-swap of it: whoever writes has seen all claims, so that two nodes
//! never have one range, whatever the lengths of ranges, whoever is killed and however slow the API server is. A leader with
//! a Lease would not do: its write may arrive after its Lease has ended and the next leader's, unless that write is a
//! compare-and-swap as well; and no node could start while there is no leader.
//!
//! The object is read when a node begins, when it reconnects, and a few times within the time for which claims of gone Nodes
//! are kept. Nobody watches it, since each change would go to each node. Nodes learn of each other by an annotation of the
//! Node, which says what its agent has claimed.
//!
//! A claim belongs to a Node object (name and UID). It is given back by whichever agent finds that this object has been gone
//! for `podRanges.giveBackAfter`. An agent that cannot confirm its claim and its Node for nine tenths of that time gives no pod
//! an address any more, so that it has stopped before anybody else may have the range. It goes on if its claim is still there
//! when it can ask again, takes the same range again if that is free, or else another. A Node that is made anew on the same machine goes on
//! with the claim of its former one, by the UID that `node.json` has: of another machine that had the name, and the range, in between
//! it has nothing.

pub mod book;
pub mod choose;
pub mod decide;
mod follow;
pub mod gone;

#[cfg(test)]
mod model;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cni_plugin::clock;
use ipnetwork::IpNetwork;
use tokio::sync::Notify;

use self::follow::Follower;
use crate::{
    api::{Shared, messages::PodRangesStatus},
    config::Ipam,
    model::{EventReason, Kind, Notice, ObjectName},
    observe::{Store, kubernetes::ClaimStore},
};

/// What the node may give addresses out of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tenure {
    /// Nobody has been asked yet.
    #[default]
    Unknown,
    /// These, until a time of the clock of this boot.
    Held {
        /// First those that addresses are given out of.
        ranges: Vec<IpNetwork>,
        /// UID of the Node whose claim they are.
        uid: String,
        /// When others may have them, unless they are confirmed before.
        until: Duration,
    },
    /// Nothing, and why.
    Nothing(String),
}

/// Something that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Reason of the Event; none if it goes by itself.
    pub reason: Option<EventReason>,
    /// What it is.
    pub note: String,
}

/// The claims of this node. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<State>);

#[derive(Debug, Default)]
struct State {
    last: Mutex<Last>,
    /// It has changed.
    news: Notify,
    /// It is to be looked at.
    look: Notify,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Last {
    tenure: Tenure,
    troubles: Vec<Trouble>,
}

impl Claims {
    /// Claims and follows from now on, as long as this is there. Needs a runtime.
    pub fn begin(&self, shared: &Arc<Shared>, observed: &Arc<Store>, store: ClaimStore) {
        let follower = Follower::new(shared, observed, store, Arc::downgrade(&self.0));
        let pulse = shared.watchdog.register("claims of ranges of pods");
        drop(pulse.spawn(follower.run()));
    }

    /// Looks again: the Node or the configuration has changed.
    pub fn look(&self) {
        self.0.look.notify_one();
    }

    /// Returns when there is something new. May be dropped at any time.
    pub async fn changed(&self) {
        self.0.news.notified().await;
    }

    /// The ranges that the node has now; none if it is not known whether it has any.
    pub fn ranges(&self) -> Option<Vec<IpNetwork>> {
        match self.0.last().tenure.clone() {
            Tenure::Held { ranges, .. } => Some(ranges),
            Tenure::Unknown | Tenure::Nothing(_) => None,
        }
    }

    /// UID of the Node whose claim those are.
    pub fn claimed_by(&self) -> Option<String> {
        match self.0.last().tenure.clone() {
            Tenure::Held { uid, .. } => Some(uid),
            Tenure::Unknown | Tenure::Nothing(_) => None,
        }
    }

    /// Why no pod may be given an address, though pods had some before.
    pub fn closed(&self) -> Option<String> {
        match self.0.last().tenure.clone() {
            Tenure::Unknown => None,
            Tenure::Held { until, .. } => (clock::since_boot() >= until).then(expired),
            Tenure::Nothing(why) => Some(why),
        }
    }

    /// Whether a pod may have these addresses now, or why not.
    pub fn admit(&self, addresses: &[IpAddr]) -> Result<(), String> {
        match self.0.last().tenure.clone() {
            Tenure::Unknown => Err("the ranges of this node are not confirmed yet".to_owned()),
            Tenure::Nothing(why) => Err(why),
            Tenure::Held { until, .. } if clock::since_boot() >= until => Err(expired()),
            Tenure::Held { ranges, .. } => {
                let is_out = |ip: &&IpAddr| !ranges.iter().any(|range| range.contains(**ip));
                match addresses.iter().find(is_out) {
                    Some(ip) => Err(format!("{ip} is in no range that this node has now")),
                    None => Ok(()),
                }
            }
        }
    }

    /// What people should know, as Events of the Node.
    pub fn notices(&self, node: &str) -> Vec<Notice> {
        let troubles = self.0.last().troubles.clone().into_iter();
        let notices = troubles.filter_map(|Trouble { reason, note }| {
            Some(Notice {
                kind: Kind::Node,
                object: ObjectName::new("", node),
                reason: reason?,
                note,
            })
        });
        notices.collect()
    }

    /// For the status.
    pub fn status(&self, ipam: Ipam) -> PodRangesStatus {
        if ipam == Ipam::Node {
            return PodRangesStatus::default();
        }
        let troubles = self.0.last().troubles.clone().into_iter();
        let mut problems: Vec<String> = troubles.map(|trouble| trouble.note).collect();
        let closed = self.closed().filter(|why| !problems.contains(why));
        problems.extend(closed);
        let ranges = self.ranges().unwrap_or_default();
        PodRangesStatus {
            claimed: true,
            ranges: ranges.iter().map(ToString::to_string).collect(),
            problems,
        }
    }
}

fn expired() -> String {
    "the ranges of this node could not be confirmed for so long that another node may have them by now (is the API server \
     reached, and is there a Node object of this name?)"
        .to_owned()
}

impl State {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claim is about to be kept for another time than before.
    fn shorten(&self, most: Duration) {
        if let Tenure::Held { until, .. } = &mut self.last().tenure {
            *until = most.min(*until);
        }
    }

    /// Says what is so now; `None` leaves the tenure as it is.
    fn put(&self, tenure: Option<Tenure>, troubles: Vec<Trouble>) {
        let mut last = self.last();
        let told = last.clone();
        if let Some(tenure) = tenure {
            last.tenure = tenure;
        }
        for trouble in troubles.iter().filter(|new| !told.troubles.contains(new)) {
            tracing::warn!(trouble = trouble.note, "ranges of pods");
        }
        last.troubles = troubles;
        if is_news(&told, &last) {
            tracing::info!(tenure = ?last.tenure, "ranges of this node's pods");
        }
        if *last != told {
            self.news.notify_one();
        }
    }
}

/// Whether more has changed than how long it holds.
fn is_news(told: &Last, last: &Last) -> bool {
    match (&told.tenure, &last.tenure) {
        (Tenure::Held { ranges: a, .. }, Tenure::Held { ranges: b, .. }) => a != b,
        (a, b) => a != b,
    }
}
