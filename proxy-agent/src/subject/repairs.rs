//! Self-healing (drift that is repaired): what somebody changed or took away, and we put back: counted, logged, and told for a while.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    api::{
        messages::{RepairStatus, RepairsStatus},
        metrics::{Metrics, What},
    },
    model::{EventReason, Kind, Mended, Notice, ObjectName, Owned},
};

/// What was in peace for so long is forgotten.
const PEACE: Duration = Duration::from_mins(10);
/// Things that an Event names.
const NAMED: usize = 5;

/// What is kept as it should be, and what had to be put back.
#[derive(Clone, Debug, Default)]
pub struct Repairs {
    /// What was as wanted when it was looked at last.
    held: BTreeMap<String, Held>,
    recent: BTreeMap<(Owned, String), Recent>,
    times: BTreeMap<Owned, u64>,
    /// Things that are to be told as one.
    gathered: Option<Vec<Owned>>,
}

#[derive(Clone, Debug)]
struct Held {
    wanted: String,
    /// Since [`Repairs::looked`].
    seen: bool,
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    times: u64,
    last: Instant,
}

impl Repairs {
    /// A thing is as `wanted` now; `changed`: it was not. If it was so before, somebody else has changed it.
    pub fn keep(&mut self, what: Owned, thing: &str, wanted: &str, changed: bool) {
        let was_so = self.hold(thing, wanted);
        if changed && was_so {
            self.repaired(what, thing);
        }
    }

    /// Notes what is so now; whether it was so before.
    fn hold(&mut self, thing: &str, wanted: &str) -> bool {
        let Some(held) = self.held.get_mut(thing) else {
            let (wanted, seen) = (wanted.to_owned(), true);
            self.held.insert(thing.to_owned(), Held { wanted, seen });
            return false;
        };
        held.seen = true;
        let same = held.wanted == wanted;
        if !same {
            wanted.clone_into(&mut held.wanted);
        }
        same
    }

    /// A look has ended: what it did not meet is nobody's any more.
    pub fn looked(&mut self) {
        self.held
            .retain(|_, held| std::mem::replace(&mut held.seen, false));
    }

    /// What is put back from now on is told as one thing: one cause has taken it all away.
    pub fn gather(&mut self) {
        self.gathered = Some(Vec::new());
    }

    /// Ends that: `thing` says what all that was, if it was any, by its number.
    pub fn gathered(&mut self, thing: impl FnOnce(usize) -> String) {
        let all = self.gathered.take().unwrap_or_default();
        if let Some(first) = all.first() {
            self.note(*first, &thing(all.len()));
        }
    }

    /// A thing was put back. Told in the log the first time, and ever more seldom if it happens again and again.
    pub fn repaired(&mut self, what: Owned, thing: &str) {
        *self.times.entry(what).or_default() += 1;
        match &mut self.gathered {
            Some(all) => {
                tracing::debug!(?what, thing, "put back what somebody changed, with more");
                all.push(what);
            }
            None => self.note(what, thing),
        }
    }

    fn note(&mut self, what: Owned, thing: &str) {
        let now = Instant::now();
        let recent = self.recent.entry((what, thing.to_owned()));
        let recent = recent.or_insert(Recent {
            times: 0,
            last: now,
        });
        recent.times += 1;
        recent.last = now;
        let times = recent.times;
        if times.is_power_of_two() {
            tracing::warn!(?what, thing, times, "put back what somebody changed");
        } else {
            tracing::debug!(?what, thing, times, "put back what somebody changed");
        }
    }

    /// Takes over what was put back beside, and forgets what is long ago.
    pub fn hear(&mut self, mended: &Mended) {
        self.expire();
        for (what, thing) in mended.take() {
            self.repaired(what, thing);
        }
    }

    /// Forgets what is long ago.
    pub fn expire(&mut self) {
        self.recent.retain(|_, one| one.last.elapsed() < PEACE);
    }

    /// What is to be told of them, for another thread.
    #[must_use]
    pub fn told(&self) -> Self {
        Self {
            held: BTreeMap::new(),
            recent: self.recent.clone(),
            times: self.times.clone(),
            gathered: None,
        }
    }

    /// Adds them to the status.
    pub fn status(&self, status: &mut RepairsStatus) {
        for (what, times) in &self.times {
            *status.times.entry(what.name()).or_default() += times;
        }
        let recent = self.recent.iter();
        let recent = recent.filter(|(_, one)| one.last.elapsed() < PEACE);
        status
            .recent
            .extend(recent.map(|((what, thing), one)| RepairStatus {
                what: what.name(),
                thing: thing.clone(),
                times: one.times,
                last_seconds: one.last.elapsed().as_secs(),
            }));
    }
}

/// Counts it in the metrics.
pub fn count(repairs: &RepairsStatus, metrics: &Metrics) {
    for (what, times) in &repairs.times {
        let series = metrics.repairs.get_or_create(&What::new(what));
        Metrics::raise(&series, *times);
    }
}

/// What stands of it, as Events of the Node. No numbers, which would be news each time.
pub fn notices(repairs: &RepairsStatus, node: &str) -> Vec<Notice> {
    let standing: Vec<&RepairStatus> = repairs.recent.iter().filter(|one| one.stands()).collect();
    let (recurs, once): (Vec<_>, Vec<_>) = standing.into_iter().partition(|one| one.recurs());
    [
        (EventReason::DriftRecurs, recurs, "changed again and again"),
        (EventReason::DriftRepaired, once, "changed or taken away"),
    ]
    .into_iter()
    .filter(|(_, things, _)| !things.is_empty())
    .map(|(reason, things, how)| Notice {
        kind: Kind::Node,
        object: ObjectName::new("", node),
        reason,
        note: format!(
            "somebody has {how}: {}; Weir has put it back",
            named(&things)
        ),
    })
    .collect()
}

fn named(things: &[&RepairStatus]) -> String {
    let names: Vec<&str> = things
        .iter()
        .take(NAMED)
        .map(|one| one.thing.as_str())
        .collect();
    match things.len() - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(repairs: &Repairs) -> RepairsStatus {
        let mut status = RepairsStatus::default();
        repairs.status(&mut status);
        status
    }

    #[test]
    fn only_what_was_as_wanted_can_be_put_back() {
        let mut repairs = Repairs::default();
        let mut keep = |wanted: &str, changed| {
            repairs.keep(Owned::Forwarding, "ipv4/ip_forward", wanted, changed);
            repairs.looked();
            told(&repairs).recent.len()
        };
        assert_eq!(keep("1", true), 0, "made");
        assert_eq!(keep("1", false), 0, "kept");
        assert_eq!(keep("2", true), 0, "wanted otherwise");
        assert_eq!(keep("2", true), 1, "put back");
        assert_eq!(told(&repairs).times["Forwarding"], 1);
    }

    #[test]
    fn what_one_cause_has_taken_away_is_told_as_one_thing() {
        let mut repairs = Repairs::default();
        repairs.gather();
        repairs.gathered(|many| format!("{many} pins"));
        assert_eq!(told(&repairs).recent, [], "nothing was taken away");
        repairs.gather();
        for map in ["ENDPOINTS", "CLIENTS"] {
            repairs.repaired(Owned::MapPins, map);
        }
        repairs.repaired(Owned::LinkPrograms, "eth0");
        repairs.gathered(|many| format!("{many} pins"));
        repairs.repaired(Owned::NodeFile, "node.json");
        let told = told(&repairs);
        let things: Vec<&str> = told.recent.iter().map(|one| one.thing.as_str()).collect();
        assert_eq!(things, ["node.json", "3 pins"], "by what they are");
        assert_eq!((told.times["MapPins"], told.times["LinkPrograms"]), (2, 1));
    }

    #[test]
    fn what_a_look_does_not_meet_is_made_anew() {
        let mut repairs = Repairs::default();
        repairs.keep(Owned::Forwarding, "ipv4/conf/eth1/forwarding", "1", true);
        repairs.looked();
        repairs.looked();
        repairs.keep(Owned::Forwarding, "ipv4/conf/eth1/forwarding", "1", true);
        assert_eq!(told(&repairs), RepairsStatus::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fight_is_told_until_there_is_peace() {
        let mut repairs = Repairs::default();
        repairs.repaired(Owned::Conflist, "05-weir.conflist");
        let reasons = |repairs: &Repairs| {
            let notices = notices(&told(repairs), "n1").into_iter();
            notices.map(|one| one.reason).collect::<Vec<_>>()
        };
        assert_eq!(reasons(&repairs), [EventReason::DriftRepaired]);
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!(reasons(&repairs), [], "once, and long ago");
        for _ in 0..2 {
            repairs.repaired(Owned::Conflist, "05-weir.conflist");
        }
        tokio::time::advance(Duration::from_mins(9)).await;
        assert_eq!(reasons(&repairs), [EventReason::DriftRecurs]);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(reasons(&repairs), []);
        repairs.expire();
        assert_eq!(told(&repairs).times["Conflist"], 3);
    }
}
