//! Claims ranges for this node, confirms them, and gives back those of Nodes that are gone.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use cni_plugin::{
    clock,
    node_file::{NodeFile, boot_id},
};
use ipnetwork::IpNetwork;
use tokio::time::sleep;

use super::{
    State, Tenure, Trouble,
    book::{Book, Claim},
    decide::{Asker, Decision, Refusal, Settings, decide},
    gone::{Gone, until},
};
use crate::{
    api::Shared,
    config::{Ipam, Period},
    model::{EventReason, Kind, Node},
    node::last_known,
    observe::{
        Store,
        kubernetes::{ClaimStore, RequestError},
    },
};

/// Pauses after a conflict: the first is that of one write. Each grows at random, so that of a crowd of nodes that begin at
/// once some get through in each round.
const CONFLICTS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));
/// Pauses after a failure.
const FAILURES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often within the time for which claims are kept a claim is confirmed, at the least.
const CONFIRMATIONS: u32 = 4;

/// Follows the claims of one node.
pub(super) struct Follower {
    shared: Arc<Shared>,
    observed: Arc<Store>,
    store: ClaimStore,
    state: Weak<State>,
    gone: Gone,
    /// What pods of this node had that is another's now.
    lost: Vec<IpNetwork>,
}

/// Why a turn did not come to its end.
enum Failed {
    /// Somebody else wrote at the same time.
    Conflict,
    /// What people should know, and what the node has nevertheless; none: as before.
    Trouble(Trouble, Option<Tenure>),
}

impl From<RequestError> for Failed {
    fn from(error: RequestError) -> Self {
        let note = format!("ranges of pods not confirmed: {error}");
        Self::Trouble(Trouble { reason: None, note }, None)
    }
}

impl Follower {
    pub(super) fn new(
        shared: &Arc<Shared>,
        observed: &Arc<Store>,
        store: ClaimStore,
        state: Weak<State>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            observed: Arc::clone(observed),
            store,
            state,
            gone: Gone::default(),
            lost: Vec::new(),
        }
    }

    /// Ends when nobody wants to know any more.
    pub(super) async fn run(mut self) {
        let (mut conflicts, mut failures) = (pauses(CONFLICTS), pauses(FAILURES));
        loop {
            let settings = Settings::of(&self.shared.configuration());
            let result = match self.shared.config.ipam {
                Ipam::Cluster => self.turn(&settings).await,
                Ipam::Node => self.claim_nothing().await,
            };
            let Some(state) = self.state.upgrade() else {
                return;
            };
            let pause = match result {
                Ok((tenure, troubles)) => {
                    state.put(Some(tenure), troubles);
                    (conflicts, failures) = (pauses(CONFLICTS), pauses(FAILURES));
                    let most = settings.ranges.give_back_after.0 / CONFIRMATIONS;
                    pauses((most / 2, most)).next().unwrap_or(most)
                }
                Err(Failed::Conflict) => conflicts.next().unwrap_or(CONFLICTS.1),
                Err(Failed::Trouble(trouble, tenure)) => {
                    state.put(tenure, vec![trouble]);
                    let most = settings.ranges.give_back_after.0 / CONFIRMATIONS;
                    failures.next().unwrap_or(FAILURES.1).min(most)
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = state.look.notified() => {}
                () = self.store.recovered() => {}
            }
        }
    }

    /// What this node has claimed once it does not use any more.
    async fn claim_nothing(&self) -> Result<(Tenure, Vec<Trouble>), Failed> {
        let name = &self.shared.config.node_name;
        let node = self.observed.read().nodes.get(name.as_str()).cloned();
        if let Some(node) = node.filter(|node| node.claimed) {
            self.store.annotate(name, &node.uid, None).await?;
        }
        Ok((Tenure::Unknown, Vec::new()))
    }

    async fn turn(&mut self, settings: &Settings) -> Result<(Tenure, Vec<Trouble>), Failed> {
        let confirmed = clock::since_boot();
        let name = self.shared.config.node_name.clone();
        let node = self.store.node(&name).await?;
        let node = node.ok_or_else(|| {
            trouble(format!(
                "there is no Node {name}: its ranges are not confirmed"
            ))
        })?;
        must_be_this_machines(&node)?;
        let held = self.store.read().await?.ok_or_else(no_object)?;
        let book = Book::read(held.version, &held.data);
        let asker = self.asker(&node);
        let (claim, refusal) = match decide(&book, &asker, settings) {
            Ok(Decision::Holds(claim)) => (claim, None),
            Ok(Decision::Write(claim, changes)) => {
                // It may be written though no answer comes.
                if let Some(state) = self.state.upgrade() {
                    state.shorten(until(confirmed, claim.keep));
                }
                if !self.store.write(&book.version, &changes).await? {
                    return Err(Failed::Conflict);
                }
                tracing::info!(%claim, "ranges of pods claimed");
                (claim, None)
            }
            Err(refused) => match *refused {
                (refusal, Some(claim)) => (claim, Some(refusal)),
                (refusal, None) => {
                    // What is given back may be what this node gets.
                    self.give_back(&book, settings.ranges.give_back_after)
                        .await?;
                    return Err(nothing(&refusal));
                }
            },
        };
        self.publish(&node, &claim).await?;
        self.note_lost(&asker, &claim);
        self.give_back(&book, settings.ranges.give_back_after)
            .await?;
        let refused = refusal.map(|refusal| Trouble {
            reason: Some(refusal.reason()),
            note: refusal.to_string(),
        });
        let troubles = refused.into_iter().chain(self.loss()).collect();
        let tenure = Tenure::Held {
            until: until(confirmed, claim.keep),
            ranges: claim.ranges,
            uid: claim.uid,
        };
        Ok((tenure, troubles))
    }

    /// Who this node is, and what is known of others.
    fn asker(&self, node: &Node) -> Asker {
        let file = last_known::node_file(&self.shared.config).unwrap_or_default();
        let NodeFile {
            pod_cidrs: of_this_boot,
            claimed_by,
            ..
        } = file.unwrap_or_default();
        // What is known of a Node stays for a while after it; its ranges are whose claims say so.
        let mut others: Vec<Arc<Node>> = self.observed.read().nodes.values().cloned().collect();
        others.retain(|other| {
            other.name != node.name && self.observed.has_node(&other.name, &other.uid)
        });
        Asker {
            node: node.name.clone(),
            uid: node.uid.clone(),
            wanted: node.wanted_pod_cidrs.clone(),
            had: [&of_this_boot[..], &node.spec_pod_cidrs[..]].concat(),
            of_this_boot,
            claimed_by,
            others: others
                .iter()
                .flat_map(|other| other.pod_cidrs.clone())
                .collect(),
        }
    }

    /// Tells the other nodes, before any pod has an address that they do not know.
    async fn publish(&self, node: &Node, claim: &Claim) -> Result<(), Failed> {
        if node.claimed && node.pod_cidrs == claim.ranges {
            return Ok(());
        }
        let ranges: Vec<String> = claim.ranges.iter().map(ToString::to_string).collect();
        let ranges = ranges.join(",");
        self.store
            .annotate(&node.name, &node.uid, Some(&ranges))
            .await?;
        Ok(())
    }

    /// What was given back while this node was cut off, and is another's now.
    fn note_lost(&mut self, asker: &Asker, claim: &Claim) {
        let is_kept =
            |range: &IpNetwork| claim.ranges.iter().any(|r| super::book::within(*range, *r));
        let lost = asker.of_this_boot.iter().filter(|range| !is_kept(range));
        let new: Vec<IpNetwork> = lost
            .filter(|range| !self.lost.contains(range))
            .copied()
            .collect();
        self.lost.extend(new);
        self.lost.retain(|range| !is_kept(range));
    }

    fn loss(&self) -> Option<Trouble> {
        let lost: Vec<String> = self.lost.iter().map(ToString::to_string).collect();
        (!lost.is_empty()).then(|| Trouble {
            reason: Some(EventReason::PodRangeLost),
            note: format!(
                "{} was given back and is not this node's any more: pods with such addresses must be made anew",
                lost.join(", ")
            ),
        })
    }

    /// Gives back what Nodes had that have been gone for long enough. Whoever comes first does it.
    async fn give_back(&mut self, book: &Book, keep: Period) -> Result<(), Failed> {
        if !self.observed.complete().has(&[Kind::Node]) {
            return Ok(());
        }
        let is_there = |name: &str, uid: &str| self.observed.has_node(name, uid);
        for (name, uid) in self.gone.suspects(book, is_there) {
            let found = self.store.node(&name).await?;
            if found.is_none_or(|node| node.uid != uid) {
                self.gone.note((name, uid), clock::since_boot());
            }
        }
        let due = self.gone.due(book, keep, clock::since_boot());
        if due.is_empty() || !book.broken.is_empty() {
            return Ok(());
        }
        // The book may be older than a claim that this turn has written; then this is a conflict, and the next turn's.
        if self.store.write(&book.version, &book.without(&due)).await? {
            tracing::info!(nodes = ?due, "ranges of Nodes that are gone given back");
        }
        Ok(())
    }
}

/// Two machines of one name would claim for one Node. The kubelet says which boot it is of.
fn must_be_this_machines(node: &Node) -> Result<(), Failed> {
    let ours = boot_id().map_err(|error| trouble(format!("read boot_id: {error}")))?;
    if node.boot_id.is_empty() || node.boot_id == ours {
        return Ok(());
    }
    Err(trouble(format!(
        "Node {} is another machine's (its boot ID is {}, this machine's is {ours}): its ranges are not this node's",
        node.name, node.boot_id
    )))
}

/// Pauses between two bounds, each longer than the last, at random.
fn pauses((least, most): (Duration, Duration)) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(least)
        .with_max_delay(most / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Why the node has no range.
fn nothing(refusal: &Refusal) -> Failed {
    let note = refusal.to_string();
    let reason = Some(refusal.reason());
    let tenure = Tenure::Nothing(note.clone());
    Failed::Trouble(Trouble { reason, note }, Some(tenure))
}

fn trouble(note: String) -> Failed {
    Failed::Trouble(Trouble { reason: None, note }, None)
}

fn no_object() -> Failed {
    let note = "there is no ConfigMap kube-system/weir-pod-ranges, which Weir's manifests make: no range can be claimed or \
                confirmed"
        .to_owned();
    let reason = Some(EventReason::PodRangesUnreadable);
    Failed::Trouble(Trouble { reason, note }, None)
}
