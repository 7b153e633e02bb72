//! Which ranges a node is to have, by what the book says.

use std::fmt;

use cni_plugin::ipam::range::serves;
use ipnetwork::IpNetwork;

use super::{
    book::{Book, Changes, Claim, overlap, within},
    choose::first_free,
};
use crate::{
    config::{Configuration, Period, PodRangeSettings},
    model::EventReason,
};

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `clusterPodCIDRs`.
    pub cluster: Vec<IpNetwork>,
    /// `podRanges`.
    pub ranges: PodRangeSettings,
}

impl Settings {
    /// Of a configuration.
    pub fn of(config: &Configuration) -> Self {
        Self {
            cluster: config.cluster_pod_cidrs.clone(),
            ranges: config.pod_ranges,
        }
    }

    const fn keep(&self) -> Period {
        self.ranges.give_back_after
    }
}

/// Who claims, and what it knows of itself and of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asker {
    /// Name of the Node.
    pub node: String,
    /// Its UID.
    pub uid: String,
    /// Annotation `weir.dev/pod-cidrs`.
    pub wanted: Option<String>,
    /// Ranges to keep if they are free: those that pods have now, then `spec.podCIDRs`.
    pub had: Vec<IpNetwork>,
    /// Ranges that pods of this machine have had since it booted.
    pub of_this_boot: Vec<IpNetwork>,
    /// UID of the Node by whose claim they had them; empty if nobody knows.
    pub claimed_by: String,
    /// Ranges of other Nodes by their objects: what they have claimed, though the book were lost, and `spec.podCIDRs` of
    /// those whose agents are still to change to `cluster`.
    pub others: Vec<IpNetwork>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The book says what it should.
    Holds(Claim),
    /// The book is to say so.
    Write(Claim, Changes),
}

/// Why a node has not got the ranges that it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No range is free.
    Exhausted {
        /// Out of which.
        cluster: Vec<IpNetwork>,
        /// Length of what was looked for.
        length: u8,
    },
    /// Another node has it.
    Taken {
        /// The range that is wanted.
        range: IpNetwork,
        /// Who has it, or a part of it.
        by: String,
    },
    /// The annotation cannot be followed.
    Annotation(String),
    /// The book cannot be read.
    Broken(Vec<String>),
}

impl Refusal {
    /// Reason of the Event.
    pub const fn reason(&self) -> EventReason {
        match self {
            Self::Exhausted { .. } => EventReason::PodRangesExhausted,
            Self::Taken { .. } => EventReason::PodRangeTaken,
            Self::Annotation(_) => EventReason::PodRangeInvalid,
            Self::Broken(_) => EventReason::PodRangesUnreadable,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted { cluster, length } => {
                let family = if cluster.iter().all(IpNetwork::is_ipv4) {
                    "IPv4"
                } else {
                    "IPv6"
                };
                let cluster: Vec<String> = cluster.iter().map(ToString::to_string).collect();
                let cluster = cluster.join(", ");
                write!(
                    f,
                    "no /{length} of {cluster} is free: add an {family} range to clusterPodCIDRs"
                )
            }
            Self::Taken { range, by } => {
                write!(f, "{range} is not free: node {by} has it, or a part of it")
            }
            Self::Annotation(why) => write!(f, "annotation weir.dev/pod-cidrs: {why}"),
            Self::Broken(lines) => {
                let lines = lines.join(", ");
                write!(
                    f,
                    "not understood in ConfigMap weir-pod-ranges, so that nobody knows what is free: {lines}"
                )
            }
        }
    }
}

/// Why a node has not got what it should, and what it has all the same.
pub type Refused = (Refusal, Option<Claim>);

/// What a node should have.
pub fn decide(book: &Book, asker: &Asker, settings: &Settings) -> Result<Decision, Box<Refused>> {
    let held = book.of(&asker.node, &asker.uid);
    let former = held.is_none().then(|| same_machine(book, asker)).flatten();
    let refused = |refusal| Box::new((refusal, held.cloned()));
    if let Some(held) = held {
        // Somebody's hand has been there. Neither may go on.
        for range in &held.ranges {
            let is_own = |claim: &Claim| claim.is_of(&asker.node, &asker.uid);
            if let Some(other) = book.taken(*range, is_own) {
                let (range, by) = (*range, other.node.clone());
                return Err(Box::new((Refusal::Taken { range, by }, None)));
            }
        }
    }
    if !book.broken.is_empty() {
        return Err(refused(Refusal::Broken(book.broken.clone())));
    }
    let mut finder = Finder {
        book,
        asker,
        settings,
        former,
        ranges: held
            .or(former)
            .map_or_else(Vec::new, |claim| claim.ranges.clone()),
    };
    finder.find().map_err(refused)?;
    let claim = Claim {
        node: asker.node.clone(),
        uid: asker.uid.clone(),
        keep: settings.keep(),
        ranges: finder.ranges,
    };
    if held == Some(&claim) {
        return Ok(Decision::Holds(claim));
    }
    let changes = book.put(&claim, former.map(|former| former.uid.as_str()));
    Ok(Decision::Write(claim, changes))
}

/// The claim of a Node that was made anew on the same machine, whose pods live on. Another machine of the same name gets
/// ranges of its own, for the first one may still be there, and so does the first one after it, though it had the same range before.
fn same_machine<'a>(book: &'a Book, asker: &Asker) -> Option<&'a Claim> {
    let mut claims = book.claims.iter();
    claims.find(|claim| {
        claim.is_of(&asker.node, &asker.claimed_by)
            && claim
                .ranges
                .iter()
                .all(|range| asker.of_this_boot.contains(range))
    })
}

struct Finder<'a> {
    book: &'a Book,
    asker: &'a Asker,
    settings: &'a Settings,
    former: Option<&'a Claim>,
    /// What it has by now.
    ranges: Vec<IpNetwork>,
}

impl Finder<'_> {
    fn find(&mut self) -> Result<(), Refusal> {
        let wanted = wanted(self.asker.wanted.as_deref())?;
        for ipv4 in [true, false] {
            match wanted.iter().find(|range| range.is_ipv4() == ipv4) {
                Some(range) => self.prefer(*range)?,
                None => self.have(ipv4)?,
            }
        }
        // Stable: those of a family stay in their order.
        self.ranges.sort_by_key(IpNetwork::is_ipv6);
        Ok(())
    }

    /// Has this range before others. Those that it had stay its own, for pods may still use them.
    fn prefer(&mut self, range: IpNetwork) -> Result<(), Refusal> {
        if let Some(by) = self.taken(range) {
            return Err(Refusal::Taken { range, by });
        }
        self.ranges.retain(|held| !within(*held, range));
        self.ranges.insert(0, range);
        Ok(())
    }

    /// Has some range of a family, if that family is one of the cluster's.
    fn have(&mut self, ipv4: bool) -> Result<(), Refusal> {
        let of_family = |range: &&IpNetwork| range.is_ipv4() == ipv4;
        let cluster: Vec<IpNetwork> = self
            .settings
            .cluster
            .iter()
            .filter(of_family)
            .copied()
            .collect();
        if cluster.is_empty() || self.ranges.iter().any(|range| range.is_ipv4() == ipv4) {
            return Ok(());
        }
        let known = self.asker.had.iter().copied();
        let mut known = known.filter(|range| cluster.iter().any(|whole| within(*range, *whole)));
        let kept = known.find(|range| self.taken(*range).is_none());
        let range = match kept {
            Some(range) => range,
            None => self.free(&cluster, ipv4)?,
        };
        self.ranges.push(range);
        Ok(())
    }

    /// Who else has a part of a range.
    fn taken(&self, range: IpNetwork) -> Option<String> {
        let asker = self.asker;
        let is_own =
            |claim: &Claim| claim.is_of(&asker.node, &asker.uid) || Some(claim) == self.former;
        if let Some(other) = self.book.taken(range, is_own) {
            return Some(other.node.clone());
        }
        let held = self.ranges.contains(&range);
        let said = asker
            .others
            .iter()
            .any(|other| !held && overlap(*other, range));
        said.then(|| "(by its Node object)".to_owned())
    }

    fn free(&self, cluster: &[IpNetwork], ipv4: bool) -> Result<IpNetwork, Refusal> {
        let length = self.settings.ranges.mask_size(ipv4);
        let claims = self.book.claims.iter();
        let mut taken: Vec<IpNetwork> = claims.flat_map(|claim| claim.ranges.clone()).collect();
        taken.extend(&self.asker.others);
        let mut all = cluster.iter();
        all.find_map(|whole| first_free(*whole, length, &taken))
            .ok_or_else(|| Refusal::Exhausted {
                cluster: cluster.to_vec(),
                length,
            })
    }
}

/// What an annotation names: at most one range of a family.
fn wanted(text: Option<&str>) -> Result<Vec<IpNetwork>, Refusal> {
    let mut ranges: Vec<IpNetwork> = Vec::new();
    for word in text.unwrap_or_default().split(',').map(str::trim) {
        if word.is_empty() {
            continue;
        }
        let no = |why: &str| Err(Refusal::Annotation(format!("`{word}` {why}")));
        let Ok(range) = crate::observe::convert::address::range(word) else {
            return no("is not a CIDR range");
        };
        if !serves(range, &[]) {
            return no("has no address for a pod");
        }
        if ranges
            .iter()
            .any(|other| other.is_ipv4() == range.is_ipv4())
        {
            return no("is a second range of its family");
        }
        ranges.push(range);
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests;
