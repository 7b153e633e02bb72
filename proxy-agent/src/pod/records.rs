//! Self-healing: the plugin's records of pods and their addresses, while the agent knows them: what somebody takes away or damages is written
//! again. Looked at beside the main loop, which reads no files.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant as Deadline},
};

use cni_plugin::{
    attachment::{Attachment, State},
    keep::{self, Kept},
    paths::Paths,
    protocol::config::LONGEST,
    rpc::Key,
    wiring::name::{host_ifname, stand_in},
};
use tokio::time::Instant;

use super::{Pods, event::Event, local::Local};
use crate::model::Owned;

/// How often they are looked at.
const PERIOD: Duration = Duration::from_secs(5);
/// How long an ADD may be at work after the agent was asked: until then a record may be about to be written, or undone.
const AT_WORK: Duration = Duration::from_secs(LONGEST + 10);
/// How long the plugin's lock may be waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than so many pods are told by their number.
const NAMED: usize = 3;

/// When they are looked at.
pub(super) struct Keeping {
    pub(super) running: bool,
    next: Instant,
    /// What could not be set right.
    problems: Vec<String>,
    /// As all was when it was found whole.
    whole: Option<Print>,
}

impl Keeping {
    pub(super) fn new() -> Self {
        Self {
            running: false,
            next: Instant::now(),
            problems: Vec::new(),
            whole: None,
        }
    }

    /// It is to be looked now.
    pub(super) fn look(&mut self) {
        self.next = Instant::now();
    }
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Found {
    /// Records that are not as they were known.
    pub(super) seen: Vec<Attachment>,
    /// What was written again.
    pub(super) kept: Kept,
    /// As all is, if it is whole.
    whole: Option<Print>,
}

/// What is to be compared, without reading it: files by name, number, time of their last change, and size; and what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Print {
    files: Vec<(PathBuf, u64, i64, i64, u64)>,
    known: Vec<(Key, u32, bool, String)>,
}

impl Print {
    fn of(paths: &Paths, known: &[Known]) -> io::Result<Self> {
        let folder = fs::read_dir(paths.attachments())?;
        let records = folder.map(|entry| entry.map(|entry| entry.path()));
        let mut files = records
            .chain([Ok(paths.ipam())])
            .map(|path| {
                let path = path?;
                let at = fs::metadata(&path)?;
                Ok((path, at.ino(), at.ctime(), at.ctime_nsec(), at.len()))
            })
            .collect::<io::Result<Vec<_>>>()?;
        files.sort();
        let known = known.iter().map(|one| {
            let record = one.record.as_ref();
            let uid = record.map_or_else(String::new, |record| record.add.pod.uid.clone());
            (one.key.clone(), one.ifindex, record.is_some(), uid)
        });
        Ok(Self {
            files,
            known: known.collect(),
        })
    }

    /// Nothing is to be learnt of any pod.
    fn is_settled(&self) -> bool {
        self.known.iter().all(|(_, _, recorded, _)| *recorded)
    }
}

/// What is known of a pod.
struct Known {
    key: Key,
    ifindex: u32,
    record: Option<Attachment>,
    /// Where nobody has seen its record: as it should be.
    made_up: Option<Attachment>,
}

impl Known {
    fn of(local: &Local, boot_id: &str) -> Self {
        let at_work = local.added.is_some_and(|at| at.elapsed() < AT_WORK);
        let made_up = (local.record.is_none() && !at_work).then(|| Attachment {
            state: State::Ready,
            boot_id: boot_id.to_owned(),
            since: local.since,
            add: local.add.clone(),
            ..Attachment::default()
        });
        Self {
            key: local.add.key.clone(),
            ifindex: local.add.host_ifindex,
            record: local.record.clone(),
            made_up,
        }
    }
}

impl Pods {
    /// Begins to look at them, if it is time to.
    pub(super) fn keep_records(&mut self) {
        if self.keeping.running || Instant::now() < self.keeping.next {
            return;
        }
        self.keeping.next = Instant::now() + PERIOD;
        if self.known.is_empty() {
            return;
        }
        self.keeping.running = true;
        let locals = self.known.values();
        let known: Vec<Known> = locals
            .map(|local| Known::of(local, &self.boot_id))
            .collect();
        let (paths, boot_id) = (self.paths.clone(), self.boot_id.clone());
        let whole = self.keeping.whole.clone();
        self.beside(&self.config.works.records, move || {
            Event::Kept(look_unless(whole, &paths, &boot_id, known))
        });
    }

    /// Takes note of what was found; whether others are to be told of pods anew.
    pub(super) fn kept(&mut self, found: Result<Found, String>) -> bool {
        self.keeping.running = false;
        self.keeping.whole = None;
        let Found { seen, kept, whole } = match found {
            Ok(found) => found,
            Err(error) => {
                self.problem(vec![format!("records of pods: {error}")]);
                return false;
            }
        };
        self.keeping.whole = whole;
        let tells = !seen.is_empty();
        for record in seen {
            let index = record.add.host_ifindex;
            let local = self.known.get_mut(record.key());
            if let Some(local) = local.filter(|local| local.add.host_ifindex == index) {
                local.record = Some(record);
            }
        }
        let records: Vec<String> = kept
            .records
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let folder = self.paths.attachments();
        match &records[..] {
            [] => {}
            few if few.len() <= NAMED => {
                for record in few {
                    self.repairs
                        .repaired(Owned::PodRecords, &format!("record {record}"));
                }
            }
            many => {
                let thing = format!("records of {} pods in {}", many.len(), folder.display());
                self.repairs.repaired(Owned::PodRecords, &thing);
            }
        }
        if !kept.addresses.is_empty() {
            let ledger = self.paths.ipam();
            self.repairs
                .repaired(Owned::PodAddresses, &ledger.display().to_string());
        }
        self.problem(kept.conflicts);
        tells
    }

    /// Notes what is wrong by now; logs what is new of it.
    fn problem(&mut self, problems: Vec<String>) {
        for error in problems
            .iter()
            .filter(|one| !self.keeping.problems.contains(one))
        {
            tracing::warn!(error, "records of pods not in step");
        }
        self.keeping.problems = problems;
    }

    /// What is wrong with them.
    pub(super) fn record_problems(&self) -> impl Iterator<Item = String> {
        self.keeping.problems.iter().cloned()
    }

    /// The plugin names an attachment: it is the one of the interface that follows from the key, whatever stood in for the key.
    pub(super) fn name(&mut self, key: &Key) {
        if self.known.contains_key(key) {
            return;
        }
        let Some(mut local) = self.known.remove(&stand_in(&host_ifname(key))) else {
            return;
        };
        tracing::info!(pod = %local.add.pod, container = key.container_id, "the runtime names a pod whose record was lost");
        local.add.key = key.clone();
        if let Some(record) = &mut local.record {
            record.add.key = key.clone();
        }
        self.known.insert(key.clone(), local);
    }
}

/// Looks, unless all is as it was when it was `whole`: reading hundreds of files every few seconds is not for nothing.
fn look_unless(
    whole: Option<Print>,
    paths: &Paths,
    boot_id: &str,
    known: Vec<Known>,
) -> Result<Found, String> {
    // Taken before they are read: what changes meanwhile is seen the next time.
    let now = Print::of(paths, &known).ok().filter(Print::is_settled);
    if now.is_some() && now == whole {
        return Ok(Found {
            whole,
            ..Found::default()
        });
    }
    let mut found = look(paths, boot_id, known)?;
    if found.seen.is_empty() && found.kept == Kept::default() {
        found.whole = now;
    }
    Ok(found)
}

fn look(paths: &Paths, boot_id: &str, known: Vec<Known>) -> Result<Found, String> {
    let (mut seen, mut all) = (Vec::new(), Vec::new());
    for one in known {
        let read = Attachment::read(&paths.attachment(&one.key)).ok();
        let read = read.filter(|record| {
            record.state == State::Ready
                && record.boot_id == boot_id
                && record.add.host_ifindex == one.ifindex
        });
        match (read, one.record.or(one.made_up)) {
            (Some(read), Some(known)) if read == known || is_richer(&known, &read) => {
                all.push(known);
            }
            (Some(read), _) => {
                seen.push(read.clone());
                all.push(read);
            }
            (None, known) => all.extend(known),
        }
    }
    let whole = keep::is_whole(paths, boot_id, &all);
    if whole.map_err(|error| format!("read them: {error}"))? {
        return Ok(Found {
            seen,
            ..Found::default()
        });
    }
    let kept = keep::keep(paths, boot_id, &all, Deadline::now() + PATIENCE);
    let kept = kept.map_err(|error| error.to_string())?;
    Ok(Found {
        seen,
        kept,
        whole: None,
    })
}

/// Whose UID is known by now.
fn is_richer(known: &Attachment, read: &Attachment) -> bool {
    read.add.pod.uid.is_empty() && !known.add.pod.uid.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_happens_to_a_file_is_seen_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path());
        fs::create_dir_all(paths.attachments()).unwrap();
        let record = paths.attachments().join("a.json");
        fs::write(&record, "one").unwrap();
        Print::of(&paths, &[]).unwrap_err();
        fs::write(paths.ipam(), "{}").unwrap();
        let print = || Print::of(&paths, &[]).unwrap();
        let mut before = print();
        assert_eq!(print(), before);
        let other = paths.attachments().join("b.json");
        let harms: [&dyn Fn(); 4] = [
            &|| fs::write(&record, "two").unwrap(),
            &|| fs::write(&other, "").unwrap(),
            &|| fs::remove_file(&record).unwrap(),
            &|| fs::write(paths.ipam(), "[]").unwrap(),
        ];
        for harm in harms {
            // The clock of files has a grain.
            std::thread::sleep(Duration::from_millis(20));
            harm();
            let after = print();
            assert_ne!(after, before);
            before = after;
        }
    }
}
