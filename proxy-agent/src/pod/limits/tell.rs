//! What is told of limits of bandwidth.

use super::{Fault, Way, Ways};
use crate::{
    model::{EventReason, Kind, Notice},
    pod::{Pods, pods::name},
};

/// More than so many are told by their number.
const NAMED: usize = 3;

impl Pods {
    /// How many endpoints have limits in force.
    pub(in crate::pod) fn limited(&self) -> usize {
        let locals = self.known.values();
        locals.filter(|local| local.limiting.flags != 0).count()
    }

    /// Of these, by times of departure.
    pub(in crate::pod) fn timed(&self) -> usize {
        let is_timed = |ways: Ways| [ways.ingress, ways.egress].contains(&Some(Way::Edt));
        let locals = self.known.values();
        let limited = locals.filter(|local| local.limiting.flags != 0);
        limited
            .filter(|local| is_timed(local.limiting.ways))
            .count()
    }

    /// The same for whoever looks at the node: of the first by name.
    pub(in crate::pod) fn limits_at_fault(&self) -> Vec<String> {
        let notices = self.notices_of_limits();
        let first = notices.iter().take(NAMED);
        let mut words: Vec<String> = first
            .map(|notice| format!("limits of pod {}: {}", notice.object, notice.note))
            .collect();
        if let more @ 1.. = notices.len().saturating_sub(NAMED) {
            words.push(format!(
                "and {more} more like that: Events of the pods tell them"
            ));
        }
        words
    }

    /// What owners of pods should know of their limits.
    pub(in crate::pod) fn notices_of_limits(&self) -> Vec<Notice> {
        let mut notices = Vec::new();
        for local in self.known.values() {
            let mut tell = |reason, note: &str| {
                notices.push(Notice {
                    kind: Kind::Pod,
                    object: name(&local.add),
                    reason,
                    note: note.to_owned(),
                });
            };
            for why in &local.limiting.nonsense {
                tell(EventReason::InvalidBandwidth, why);
            }
            match &local.limiting.fault {
                Some(Fault::Impossible(why)) => tell(EventReason::BandwidthNotPossible, why),
                Some(Fault::Failed(why)) => tell(EventReason::BandwidthNotInForce, why),
                None => {}
            }
        }
        notices
    }
}
