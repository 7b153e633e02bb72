//! Pods' interfaces: attached at once by clsact, lifted to TCX when there is time.
//!
//! Links are what a node should run on: nobody else's `tc` removes them, and no qdisc is in the way of the packet.
//! The filters stay underneath. They cost nothing, since the link has the last word on every packet, and if someone
//! takes a link off, the pod's policy is still in force.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aya::Ebpf;

use super::{
    TcMode, TcPreference, attachments,
    blocks::Blocks,
    hook::{Hook, describe, program_fd},
    interface::{self, attach_tcx, no_tcx, replace_tcx},
};
use crate::datapath::{error::DatapathError, pins::Pins};

/// Hooks of a pod's interface. What undoes translations comes before what makes them.
const HOOKS: [Hook; 2] = [Hook::ToPod, Hook::FromPod];

/// Attaches the programs of pods' interfaces the quick way, and puts ours behind links that are pinned.
pub(in crate::datapath) fn attach(
    ebpf: &mut Ebpf,
    pins: &Pins,
    blocks: Blocks,
    interfaces: &[u32],
    preference: TcPreference,
) -> Result<Vec<Result<TcMode, DatapathError>>, DatapathError> {
    // Links first: until they are replaced, an earlier version's programs may pass packets on to the filters.
    let links: Vec<_> = interfaces
        .iter()
        .map(|ifindex| replace(ebpf, pins, *ifindex))
        .collect();
    let bound = blocks.bind(ebpf, interfaces)?;
    let all = interfaces.iter().zip(links.into_iter().zip(bound));
    Ok(all
        .map(|(ifindex, (links, bound))| match (links?, bound?) {
            (mode, true) => Ok(mode),
            (_, false) => attach_alone(ebpf, pins, *ifindex, preference),
        })
        .collect())
}

/// Puts our programs behind the links of an interface, and says whether it has both.
fn replace(ebpf: &Ebpf, pins: &Pins, ifindex: u32) -> Result<TcMode, DatapathError> {
    let mut mode = TcMode::Tcx;
    for hook in HOOKS {
        let program = program_fd(ebpf, hook.program())?;
        match replace_tcx(program, pins, hook, ifindex) {
            Ok(true) => {}
            Ok(false) => mode = TcMode::Clsact,
            Err(source) => return Err(failed(hook, ifindex, source)),
        }
    }
    Ok(mode)
}

/// In the place of clsact is someone else's qdisc, or that of a version that knew no blocks.
fn attach_alone(
    ebpf: &mut Ebpf,
    pins: &Pins,
    ifindex: u32,
    preference: TcPreference,
) -> Result<TcMode, DatapathError> {
    let mut mode = TcMode::Tcx;
    for hook in HOOKS {
        mode = interface::attach(ebpf, pins, hook, ifindex, preference)?;
    }
    Ok(mode)
}

/// Those of these interfaces that have both programs, and how.
pub(in crate::datapath) fn attached(
    pins: &Pins,
    blocks: Blocks,
    interfaces: &[u32],
) -> Result<BTreeMap<u32, TcMode>, DatapathError> {
    let mut links: BTreeMap<u64, usize> = BTreeMap::new();
    for link in attachments::list(pins)? {
        if !link.cgroup
            && HOOKS
                .iter()
                .any(|hook| link.name.starts_with(hook.program()))
        {
            *links.entry(link.target).or_default() += 1;
        }
    }
    let is_lifted = |ifindex: &u32| links.get(&u64::from(*ifindex)) == Some(&HOOKS.len());
    let (lifted, others): (Vec<u32>, Vec<u32>) = interfaces.iter().partition(|i| is_lifted(i));
    let bound = blocks.bound(others)?;
    let lifted = lifted.into_iter().map(|ifindex| (ifindex, TcMode::Tcx));
    let bound = bound.into_iter().map(|ifindex| (ifindex, TcMode::Clsact));
    Ok(lifted.chain(bound).collect())
}

/// What came of lifting an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifted {
    /// It has its links.
    Done,
    /// It is as it was, or has one of its links: there was something else to do.
    Later,
    /// It is as it was: the kernel has no TCX.
    Never,
}

/// The programs of a pod's interface, by hook.
pub(in crate::datapath) type PodPrograms = Vec<(Hook, OwnedFd)>;

/// Makes links for interfaces whose filters are in force already. Waits for RCU grace periods: not for a thread that
/// has other things to do. Clones have the same programs, also when these are exchanged.
#[derive(Clone, Debug)]
pub struct Lifter {
    pins: Pins,
    programs: Arc<Mutex<PodPrograms>>,
}

impl Lifter {
    pub(in crate::datapath) fn new(ebpf: &Ebpf, pins: &Pins) -> Result<Self, DatapathError> {
        Ok(Self {
            pins: pins.clone(),
            programs: Arc::new(Mutex::new(pod_programs(ebpf)?)),
        })
    }

    /// Lifts one interface of the calling thread's network namespace. `go_on` is asked before each wait.
    pub fn lift(&self, ifindex: u32, go_on: &dyn Fn() -> bool) -> Result<Lifted, DatapathError> {
        for number in 0..HOOKS.len() {
            if !go_on() {
                return Ok(Lifted::Later);
            }
            let programs = self.pause();
            let Some((hook, program)) = programs.get(number) else {
                return Ok(Lifted::Never);
            };
            match attach_tcx(program.as_fd(), &self.pins, *hook, ifindex) {
                Err(error) if no_tcx(&error) => return Ok(Lifted::Never),
                made => made.map_err(|source| failed(*hook, ifindex, source))?,
            }
        }
        Ok(Lifted::Done)
    }

    /// Its programs: it makes no link while the caller has them.
    pub(in crate::datapath) fn pause(&self) -> MutexGuard<'_, PodPrograms> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The programs of loaded ones that [`Lifter`] needs.
pub(in crate::datapath) fn pod_programs(ebpf: &Ebpf) -> Result<PodPrograms, DatapathError> {
    let programs = HOOKS.map(|hook| {
        let program = program_fd(ebpf, hook.program())?;
        let copy = program.try_clone_to_owned();
        let copy = copy.map_err(|source| failed(hook, 0, source))?;
        Ok((hook, copy))
    });
    programs.into_iter().collect()
}

fn failed(hook: Hook, ifindex: u32, source: std::io::Error) -> DatapathError {
    DatapathError::Attach {
        program: hook.program().to_owned(),
        target: describe(ifindex),
        source,
    }
}
