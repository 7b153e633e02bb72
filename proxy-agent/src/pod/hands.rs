//! The thread that puts programs on pods' interfaces, takes them off and looks whether they are there. It speaks netlink, waits
//! for the kernel's lock of all interfaces and removes files; the main loop gives it jobs and takes what came of them as events.
//! One after the other, in the order in which they were given: what was put on before it is taken off does not stay.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::PathBuf,
    sync::mpsc as jobs,
    thread::{self, JoinHandle},
};

use cni_plugin::rpc::{Key, Response};
use tokio::sync::{mpsc, oneshot};

use super::{Interfaces, cut_off::Fault, event::Event, limits};
use crate::{
    datapath::{DatapathError, TcMode},
    watchdog::Work,
};

/// An endpoint's interface. The endpoint's id tells it from one of a former ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Whose.
    pub key: Key,
    /// The endpoint.
    pub id: u32,
    /// Index of the host's side.
    pub ifindex: u32,
}

/// What came of attaching the programs of an interface.
pub type Hung = (Side, Result<TcMode, Fault>);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    /// Puts programs on interfaces, of a whole crowd in one go.
    Attach(Vec<Side>),
    /// Takes them off an interface, of a pod.
    Detach(u32, String),
    /// Looks at interfaces, and puts programs on those that lack them.
    Watch(Vec<Side>),
    /// Brings the limits of an endpoint's interface in force.
    Limit(u32, limits::Side),
    /// Looks whether limits are as they should be.
    LookAtLimits(limits::Look),
    /// Removes what there is for limits of an interface that is gone, of a pod.
    ForgetLimits(Key, u32, String),
    /// Removes the file of a DEL that is done.
    Bury(PathBuf),
    /// Answers the plugin, once all before this is done.
    Answer(oneshot::Sender<Response>, Response),
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Watched {
    /// At what it looked.
    pub looked: Vec<Side>,
    /// Those that had their programs, and how.
    pub attached: BTreeMap<u32, TcMode>,
    /// What came of putting back those that were lost.
    pub put_back: Vec<Hung>,
}

/// The thread, as the main loop has it.
#[derive(Debug)]
pub(super) struct Hands {
    /// None: it is to end.
    jobs: Option<jobs::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Hands {
    /// Begins it, in the calling thread's namespaces. `work` watches over each job.
    pub(super) fn begin(
        mut interfaces: Box<dyn Interfaces + Send>,
        tell: mpsc::Sender<Event>,
        work: Work,
    ) -> io::Result<Self> {
        let (jobs, given) = jobs::channel();
        let thread = thread::Builder::new().name("pods".to_owned());
        let thread = thread.spawn(move || {
            let mut waiting = VecDeque::new();
            while let Some(job) = next(&given, &mut waiting) {
                let event = work.run(|| carry_out(&mut *interfaces, job));
                // The receiver goes only with the agent.
                if let Some(event) = event {
                    drop(tell.blocking_send(event));
                }
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Gives it a job. One that has panicked takes none: the watchdog names it.
    pub(super) fn give(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            jobs.send(job).unwrap_or_default();
        }
    }
}

impl Drop for Hands {
    /// Waits for what was given: nothing is left half done.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread of pods' programs had panicked");
        }
    }
}

/// The next job. Of those that have piled up, requests to attach become one: each queues for a lock that the plugins queue for, too.
fn next(given: &jobs::Receiver<Job>, waiting: &mut VecDeque<Job>) -> Option<Job> {
    if waiting.is_empty() {
        waiting.push_back(given.recv().ok()?);
    }
    waiting.extend(given.try_iter());
    let mut job = waiting.pop_front()?;
    if let Job::Attach(sides) = &mut job {
        while let Some(Job::Attach(more)) = waiting.front_mut() {
            sides.append(more);
            waiting.pop_front();
        }
    }
    Some(job)
}

/// Does it; an event, if the main loop is to know of it.
pub(super) fn carry_out(interfaces: &mut dyn Interfaces, job: Job) -> Option<Event> {
    match job {
        Job::Attach(sides) => return Some(Event::Attached(attach(interfaces, sides))),
        Job::Watch(sides) => return Some(Event::Watched(watch(interfaces, sides))),
        Job::Limit(id, side) => {
            let limited = limits::jobs::limit(interfaces, id, side);
            return Some(Event::Limited(Box::new(limited)));
        }
        Job::LookAtLimits(look) => {
            return Some(Event::LookedAtLimits(limits::jobs::look(interfaces, look)));
        }
        Job::ForgetLimits(key, ifindex, pod) => {
            limits::jobs::forget(interfaces, &key, ifindex, &pod);
        }
        Job::Detach(ifindex, pod) => {
            if let Err(error) = interfaces.detach(ifindex) {
                tracing::warn!(pod, ifindex, %error, "pod's programs not detached");
            }
        }
        Job::Bury(tombstone) => {
            if let Err(error) = cni_plugin::ledger::remove(&tombstone) {
                tracing::warn!(%error, "tombstone not removed");
            }
        }
        // Killed meanwhile.
        Job::Answer(reply, response) => drop(reply.send(response)),
    }
    None
}

/// Puts programs on interfaces; each by itself, though in one go.
pub(super) fn attach(interfaces: &mut dyn Interfaces, sides: Vec<Side>) -> Vec<Hung> {
    let indexes: Vec<u32> = sides.iter().map(|side| side.ifindex).collect();
    if indexes.is_empty() {
        return Vec::new();
    }
    let attached = match interfaces.attach(&indexes) {
        Ok(attached) => attached
            .into_iter()
            .map(|one| one.map_err(|error| error.to_string()))
            .collect(),
        Err(error) => vec![Err(error.to_string()); sides.len()],
    };
    let hung = sides.into_iter().zip(attached).map(|(side, outcome)| {
        let outcome = outcome.map_err(|error| fault(interfaces, side.ifindex, error));
        (side, outcome)
    });
    hung.collect()
}

/// What the kernel says of an interface that is gone does not say so.
fn fault(interfaces: &dyn Interfaces, ifindex: u32, error: String) -> Fault {
    if interfaces.is_there(ifindex) {
        Fault::Failed(error)
    } else {
        Fault::Gone
    }
}

fn watch(interfaces: &mut dyn Interfaces, looked: Vec<Side>) -> Option<Watched> {
    let all: Vec<u32> = looked.iter().map(|side| side.ifindex).collect();
    let attached = match attached_twice(&all, interfaces) {
        Ok(attached) => attached,
        Err(error) => {
            tracing::warn!(%error, "attached programs not listed");
            return None;
        }
    };
    let lost = looked.iter();
    let lost = lost.filter(|side| !attached.contains_key(&side.ifindex));
    let lost = lost.cloned().collect();
    let put_back = attach(interfaces, lost);
    Some(Watched {
        looked,
        attached,
        put_back,
    })
}

/// How interfaces are attached. One that is being lifted meanwhile may be seen in neither way, so that a second look counts.
fn attached_twice(
    all: &[u32],
    interfaces: &dyn Interfaces,
) -> Result<BTreeMap<u32, TcMode>, DatapathError> {
    let mut attached = interfaces.attached(all)?;
    let missing = all.iter().copied();
    let missing: Vec<u32> = missing
        .filter(|ifindex| !attached.contains_key(ifindex))
        .collect();
    if !missing.is_empty() {
        attached.extend(interfaces.attached(&missing)?);
    }
    Ok(attached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_to_attach_that_pile_up_become_one_and_keep_their_place() {
        let (give, given) = jobs::channel();
        let side = |id| Side {
            key: Key::default(),
            id,
            ifindex: id,
        };
        let detach = Job::Detach(1, String::new());
        let attach = |id| Job::Attach(vec![side(id)]);
        for job in [attach(1), attach(2), detach, attach(3)] {
            give.send(job).unwrap();
        }
        drop(give);
        let mut waiting = VecDeque::new();
        let jobs = std::iter::from_fn(|| next(&given, &mut waiting));
        let told = jobs.map(|job| match job {
            Job::Attach(sides) => sides.iter().map(|side| side.id).collect(),
            _ => Vec::new(),
        });
        assert!(told.eq([vec![1, 2], vec![], vec![3]]));
    }
}
