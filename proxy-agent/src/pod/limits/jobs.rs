//! What of limits is done on the thread of pods' programs ([`super::super::hands`]), and what came of it, as values.

use std::{collections::BTreeSet, io};

use cni_plugin::{rpc::Key, wiring::queue};

use super::{Done, Fault, Limits, Side, Way, Ways, fault};
use crate::pod::Interfaces;

/// What came of putting the limits of an interface in force.
#[derive(Debug)]
pub struct Limited {
    /// The endpoint.
    pub(super) id: u32,
    /// Its interface, and what it was to have.
    pub(super) side: Side,
    pub(super) outcome: Result<Ways, Fault>,
}

/// What a look at all limits goes by.
#[derive(Debug, Default)]
pub struct Look {
    /// Interfaces whose limits nothing is known to be wrong with.
    pub(super) sides: Vec<Side>,
    /// Ends of queues.
    pub(super) ends: Vec<u32>,
    /// Entries of queues where packets get times of departure.
    pub(super) entries: Vec<u32>,
    /// Names of the interfaces of queues that stay.
    pub(super) queues: BTreeSet<String>,
    /// Host sides of the interfaces of pods that are known.
    pub(super) known: BTreeSet<u32>,
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Looked {
    /// Per interface whether something was put back.
    pub(super) sides: Vec<(Side, Result<bool, Fault>)>,
    /// Programs that were put back, in words.
    pub(super) programs: Vec<&'static str>,
}

/// Brings the limits of an interface in force.
pub(in crate::pod) fn limit(interfaces: &mut dyn Interfaces, id: u32, side: Side) -> Limited {
    let outcome = put(interfaces, &side).map_err(|error| fault(&error));
    Limited { id, side, outcome }
}

/// Of a pod that is gone: the queue at its interface went with that.
pub(in crate::pod) fn forget(interfaces: &dyn Interfaces, key: &Key, ifindex: u32, pod: &str) {
    if let Err(error) = interfaces.forget_limits(key, ifindex) {
        tracing::warn!(pod, %error, "limits of bandwidth of a pod not removed");
    }
}

/// Sets right what somebody changed, and removes what is nobody's.
pub(in crate::pod) fn look(interfaces: &mut dyn Interfaces, look: Look) -> Looked {
    let mut looked = Looked::default();
    let mended = match interfaces.limit(&look.sides) {
        Ok(mended) => mended,
        Err(error) => {
            tracing::warn!(%error, "limits of bandwidth not read");
            return looked;
        }
    };
    let outcomes = mended.into_iter().map(|outcome| {
        let changed = outcome.map(|Done { changed, .. }| changed);
        changed.map_err(|error| fault(&error))
    });
    looked.sides = look.sides.into_iter().zip(outcomes).collect();
    attach_ends(interfaces, &look.ends, &mut looked.programs);
    attach_entries(interfaces, &look.entries, &mut looked.programs);
    if let Err(error) = interfaces.remove_queues(&look.queues) {
        tracing::warn!(%error, "queues of pods that are gone not removed");
    }
    let is_known = |at: u32| {
        let mut known = look.known.iter();
        known.any(|side| *side == at || queue::entry(*side) == at)
    };
    if let Err(error) = interfaces.keep_paces(&is_known) {
        tracing::warn!(%error, "limits of pods that are gone not removed");
    }
    looked
}

/// Attaches again what someone took off the entries of queues.
fn attach_entries(
    interfaces: &mut dyn Interfaces,
    entries: &[u32],
    programs: &mut Vec<&'static str>,
) {
    for entry in entries {
        let mended = match interfaces.has_entry(*entry) {
            Ok(true) => continue,
            Ok(false) => interfaces.attach_entry(*entry),
            Err(error) => Err(error),
        };
        match mended {
            Ok(()) => programs.push("a program at the entry of a pod's queue"),
            Err(error) => tracing::warn!(%error, "program at the entry of a queue not attached"),
        }
    }
}

/// Attaches again what someone took off the ends of queues.
fn attach_ends(interfaces: &mut dyn Interfaces, ends: &[u32], programs: &mut Vec<&'static str>) {
    if ends.is_empty() {
        return;
    }
    let attached = match interfaces.attached(ends) {
        Ok(attached) => attached,
        Err(error) => {
            tracing::warn!(%error, "programs at the ends of queues not listed");
            return;
        }
    };
    let ends = ends.iter().copied();
    let lost: Vec<u32> = ends.filter(|end| !attached.contains_key(end)).collect();
    if lost.is_empty() {
        return;
    }
    match interfaces.attach(&lost) {
        Ok(_) => programs.push("programs at the ends of pods' queues"),
        Err(error) => tracing::warn!(%error, "programs at the ends of queues not attached"),
    }
}

/// Puts limits and the programs of a queue. What is half done is taken back.
fn put(interfaces: &mut dyn Interfaces, side: &Side) -> io::Result<Ways> {
    let one = |interfaces: &dyn Interfaces, side: &Side| {
        let mut done = interfaces.limit(std::slice::from_ref(side))?;
        done.pop().unwrap_or_else(|| Ok(Done::default()))
    };
    let done = one(interfaces, side).and_then(|Done { ways, .. }| {
        if ways.egress == Some(Way::Edt) {
            let attached = interfaces.attach_entry(queue::entry(side.index));
            attached.map_err(io::Error::other)?;
        }
        if side.limits.egress.is_some() {
            attach(interfaces, queue::end(side.index))?;
        } else {
            interfaces.remove_queue(&side.key)?;
        }
        Ok(ways)
    });
    if done.is_err() {
        let none = Side {
            limits: Limits::default(),
            ..side.clone()
        };
        one(interfaces, &none)?;
        interfaces.remove_queue(&side.key)?;
    }
    done
}

fn attach(interfaces: &mut dyn Interfaces, end: u32) -> io::Result<()> {
    let mut attached = interfaces.attach(&[end]).map_err(io::Error::other)?;
    match attached.pop() {
        Some(Err(error)) => Err(io::Error::other(error)),
        _ => Ok(()),
    }
}
