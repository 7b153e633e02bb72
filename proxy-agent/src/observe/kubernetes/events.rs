//! Notices as Events of the objects that they are about (`events.k8s.io/v1`), written once each and again from time to
//! time: API servers keep Events for an hour.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{self as core, ObjectReference},
        networking::v1 as networking,
    },
};
use kube::{
    Api, Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::servers::{RequestError, Servers};
use crate::model::{EventReason, Kind, Notice, ObjectName};

const PATIENCE: Duration = Duration::from_secs(10);
/// When what still stands is written again.
const AGAIN: Duration = Duration::from_mins(30);
/// When it is written again with other words.
const NEWS: Duration = Duration::from_mins(1);
/// Pauses while nothing can be written.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// As the API server wants it, in bytes.
const LONGEST_NOTE: usize = 1024;

/// What an Event is about: one of them stands for all words.
type Subject = (Kind, ObjectName, EventReason);

/// Writes Events.
#[derive(Clone, Debug)]
pub(super) struct EventWriter {
    pub(super) servers: Arc<Servers>,
    pub(super) node: String,
}

/// What was written when.
#[derive(Debug, Default)]
struct Written(BTreeMap<Subject, (String, Instant)>);

impl Written {
    /// When a notice is to be written.
    fn due(&self, notice: &Notice, now: Instant) -> Instant {
        match self.0.get(&subject(notice)) {
            None => now,
            Some((note, at)) if *note == notice.note => *at + AGAIN,
            Some((_, at)) => *at + NEWS,
        }
    }

    fn note(&mut self, notice: &Notice) {
        let written = (notice.note.clone(), Instant::now());
        self.0.insert(subject(notice), written);
    }

    /// Forgets what does not stand any more: if it comes again it is new.
    fn keep(&mut self, standing: &BTreeSet<Notice>) {
        let standing: BTreeSet<Subject> = standing.iter().map(subject).collect();
        self.0.retain(|subject, _| standing.contains(subject));
    }
}

fn subject(notice: &Notice) -> Subject {
    (notice.kind, notice.object.clone(), notice.reason)
}

impl EventWriter {
    /// Writes what stands, for as long as anybody tells.
    pub(super) async fn run(self, mut told: watch::Receiver<BTreeSet<Notice>>) {
        let mut written = Written::default();
        let pauses = ExponentialBuilder::new()
            .with_min_delay(PAUSES.0)
            .with_max_delay(PAUSES.1)
            .with_jitter()
            .without_max_times();
        let mut pause = pauses.build();
        loop {
            let standing = told.borrow_and_update().clone();
            written.keep(&standing);
            if let Err(error) = self.write_due(&standing, &mut written).await {
                tracing::warn!(%error, "Event not written; retrying");
                // The longest pause, should there be no next one.
                sleep(pause.next().unwrap_or(PAUSES.1)).await;
                continue;
            }
            pause = pauses.build();
            let now = Instant::now();
            let due = standing.iter().map(|notice| written.due(notice, now)).min();
            let changed = tokio::select! {
                () = until(due) => Ok(()),
                changed = told.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    async fn write_due(
        &self,
        standing: &BTreeSet<Notice>,
        written: &mut Written,
    ) -> Result<(), RequestError> {
        for notice in standing {
            let now = Instant::now();
            if written.due(notice, now) <= now {
                self.write(notice).await?;
                written.note(notice);
            }
        }
        Ok(())
    }

    async fn write(&self, notice: &Notice) -> Result<(), RequestError> {
        let event = Event {
            type_: EventType::Warning,
            reason: notice.reason.name().to_owned(),
            note: Some(note(&self.node, notice)),
            action: "Programming".to_owned(),
            secondary: None,
        };
        let ask = async |client: Client| {
            // An object that is gone needs no Event.
            let Some(reference) = reference(client.clone(), notice).await? else {
                return Ok(());
            };
            let reporter = Reporter {
                controller: "weir".to_owned(),
                instance: Some(self.node.clone()),
            };
            Recorder::new(client, reporter)
                .publish(&event, &reference)
                .await
        };
        let what = format!("write an Event of {} {}", notice.kind, notice.object);
        self.servers.request((PATIENCE, &what), ask).await
    }
}

fn note(node: &str, notice: &Notice) -> String {
    let words = &notice.note;
    let mut note = if notice.is_everywhere() {
        format!("on all nodes: {words}")
    } else {
        format!("on node {node}: {words}")
    };
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    note
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The object of a notice, with its UID, by which `kubectl describe` finds its Events.
async fn reference(client: Client, notice: &Notice) -> kube::Result<Option<ObjectReference>> {
    match notice.kind {
        Kind::NetworkPolicy => find::<networking::NetworkPolicy>(client, &notice.object).await,
        Kind::Service => find::<core::Service>(client, &notice.object).await,
        Kind::Pod => find::<core::Pod>(client, &notice.object).await,
        Kind::Node => {
            let all = Api::<core::Node>::all(client);
            let found = all.get_metadata_opt(notice.object.name()).await?;
            Ok(found.map(|object| object.object_ref(&())))
        }
        Kind::EndpointSlice | Kind::Namespace => Ok(None),
    }
}

async fn find<K>(client: Client, name: &ObjectName) -> kube::Result<Option<ObjectReference>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let all = Api::<K>::namespaced(client, name.namespace());
    let found = all.get_metadata_opt(name.name()).await?;
    Ok(found.map(|object| object.object_ref(&())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(name: &str, note: &str) -> Notice {
        Notice {
            kind: Kind::NetworkPolicy,
            object: ObjectName::new("x", name),
            reason: EventReason::NotProgrammed,
            note: note.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_is_written_once_and_again_after_a_while() {
        let (mut written, first) = (Written::default(), notice("p", "a"));
        let began = Instant::now();
        assert_eq!(written.due(&first, began), began);
        written.note(&first);
        assert_eq!(written.due(&first, began), began + AGAIN);
        assert_eq!(written.due(&notice("p", "b"), began), began + NEWS);
        assert_eq!(written.due(&notice("q", "a"), began), began);
        written.keep(&BTreeSet::new());
        assert_eq!(written.due(&first, began), began, "it has come again");
    }

    #[test]
    fn notes_say_where_and_are_no_longer_than_they_may_be() {
        let long = note("n1", &notice("p", &"ä".repeat(2000)));
        assert!(long.len() <= LONGEST_NOTE && long.len() > LONGEST_NOTE - 2);
        assert_eq!(note("n1", &notice("p", "full")), "on node n1: full");
        let everywhere = Notice {
            kind: Kind::Service,
            reason: EventReason::AddressConflict,
            ..notice("s", "taken")
        };
        assert_eq!(note("n1", &everywhere), "on all nodes: taken");
    }
}
