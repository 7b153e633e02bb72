//! The status screen: one row per part, a hint where something is wrong.

mod encryption;
mod host;
mod links;
mod load_balancers;
mod masquerade;
mod pod_ranges;
mod pressure;
mod repairs;
mod ways;
mod xdp;

use std::io::{self, Write};

use crate::api::messages::{CniStatus, Status};
use crate::ctl::version::skew;

/// How well a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Fine.
    Ok,
    /// Not yet.
    Starting,
    /// Works, but needs attention.
    Warning,
    /// Does not work.
    Error,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Starting => "STARTING",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The part.
    pub part: &'static str,
    /// How well it is.
    pub level: Level,
    /// Figures.
    pub text: String,
    /// What is wrong, and what to do about it.
    pub notes: Vec<String>,
}

impl Row {
    const fn new(part: &'static str, level: Level, text: String) -> Self {
        Self {
            part,
            level,
            text,
            notes: Vec::new(),
        }
    }
}

/// Ranges that are named.
const RANGES: usize = 4;
/// Pods that are.
const NAMED: usize = 3;

/// The rows of the screen.
pub fn rows(status: &Status) -> Vec<Row> {
    vec![
        agent(status),
        api(status),
        sync(status),
        pressure::maps(status),
        pressure::flows(status),
        cni(status),
        host::row(status),
        links::row(status),
        xdp::row(status),
        masquerade::row(status),
        pod_ranges::row(status),
        ways::row(status),
        encryption::row(status),
        load_balancers::row(status),
        repairs::row(status),
        health(status),
    ]
}

fn agent(status: &Status) -> Row {
    let agent = &status.agent;
    let level = if agent.ready {
        Level::Ok
    } else {
        Level::Starting
    };
    let text = format!(
        "v{}  up {}   kernel {}   node {}",
        agent.version,
        age(agent.uptime_seconds),
        agent.kernel,
        agent.node
    );
    let mut row = Row::new("Agent", level, text);
    row.notes
        .extend(agent.awaiting.iter().map(|what| format!("awaiting {what}")));
    if !agent.restart_for.is_empty() {
        row.level = row.level.max(Level::Warning);
        row.notes.push(format!(
            "changed in its file, but in force only after a restart: {}",
            agent.restart_for.join(", ")
        ));
    }
    if let Some(skew) = skew(&agent.version, &agent.layout) {
        row.level = row.level.max(Level::Warning);
        row.notes.push(skew);
    }
    row
}

fn api(status: &Status) -> Row {
    let observe = &status.observe;
    let count = |kind: &str| observe.objects.get(kind).copied().unwrap_or(0);
    let last = observe
        .last_event_seconds
        .map_or_else(String::new, |seconds| {
            format!("   last event {} ago", age(seconds))
        });
    let text = format!(
        "services {}   slices {}   pods {}   policies {}{last}",
        count("Service"),
        count("EndpointSlice"),
        count("Pod"),
        count("NetworkPolicy")
    );
    let level = match (observe.problems.is_empty(), observe.complete) {
        (false, _) => Level::Warning,
        (true, false) => Level::Starting,
        (true, true) => Level::Ok,
    };
    let mut row = Row::new("API", level, text);
    row.notes.clone_from(&observe.problems);
    row
}

fn sync(status: &Status) -> Row {
    let sync = &status.sync;
    let last = sync.last_full_seconds.map_or_else(String::new, |seconds| {
        format!(
            "   last full {} ago in {:.1}ms",
            age(seconds),
            sync.last_full_millis
        )
    });
    let text = format!(
        "{}/{} services, {} backends, {} endpoints, {} policies{last}",
        sync.services.saturating_sub(sync.services_failed),
        sync.services,
        sync.backends,
        sync.endpoints,
        sync.policies
    );
    let level = match (sync.errors.is_empty(), sync.last_full_seconds) {
        (false, _) => Level::Error,
        (true, None) => Level::Starting,
        (true, Some(_)) => Level::Ok,
    };
    let mut row = Row::new("Sync", level, text);
    row.notes.clone_from(&sync.errors);
    if sync.drift > 0 {
        row.level = row.level.max(Level::Warning);
        row.notes.push(format!(
            "the last full comparison found {} entries that differed, and set them right",
            sync.drift
        ));
    }
    row
}

/// How many pods are limited, and how.
fn limited(cni: &CniStatus) -> String {
    match (cni.timed, cni.limited - cni.timed.min(cni.limited)) {
        (0, 0) => "0".to_owned(),
        (0, all) => format!("{all} (bucket)"),
        (all, 0) => format!("{all} (edt)"),
        (edt, bucket) => format!("{} ({edt} edt, {bucket} bucket)", cni.limited),
    }
}

/// Pods without a network: the first by name.
fn cut_off(cni: &CniStatus) -> Vec<String> {
    let first = cni.cut_off.iter().take(NAMED);
    let mut notes: Vec<String> = first
        .map(|one| format!("pod {} has no network: {}", one.pod, one.why))
        .collect();
    if let more @ 1.. = cni.cut_off.len().saturating_sub(NAMED) {
        notes.push(format!(
            "and {more} more pods have none: `proxyctl status -o json` names them"
        ));
    }
    // An agent of an earlier version names none.
    let without = cni.pods.saturating_sub(cni.tcx + cni.clsact);
    if notes.is_empty() && without > 0 {
        notes.push(format!(
            "programs of {without} pods are not attached: the agent's log says why"
        ));
    }
    notes
}

fn cni(status: &Status) -> Row {
    let cni = &status.cni;
    let (level, place) = match (&cni.conflist, cni.enabled) {
        (Some(conflist), _) => (Level::Ok, conflist.as_str()),
        (None, true) => (Level::Starting, "not installed yet"),
        (None, false) => (Level::Ok, "not installed by the agent"),
    };
    let text = format!(
        "{place}  pods {}   tcx {}   clsact {}   limited {}   new pods {}",
        cni.pods,
        cni.tcx,
        cni.clsact,
        limited(cni),
        cni.device
    );
    let mut row = Row::new("CNI", level, text);
    let cut_off = cut_off(cni);
    if !cut_off.is_empty() {
        row.level = Level::Error;
        row.notes.extend(cut_off);
    }
    if !cni.notes.is_empty() {
        row.level = row.level.max(Level::Warning);
        row.notes.extend(cni.notes.iter().cloned());
    }
    if !cni.problems.is_empty() {
        row.level = Level::Error;
        row.notes.extend(cni.problems.iter().cloned());
    }
    row
}

fn health(status: &Status) -> Row {
    let health = &status.health;
    let code = if health.healthy && health.node_eligible {
        200
    } else {
        503
    };
    let text = format!(
        "{} /healthz {code}   {} /metrics",
        health.healthz_address, health.metrics_address
    );
    let level = if health.healthy && health.problems.is_empty() {
        Level::Ok
    } else {
        Level::Error
    };
    let mut row = Row::new("Health", level, text);
    row.notes.clone_from(&health.problems);
    if !health.healthy && health.problems.is_empty() {
        row.notes
            .push("an update has waited too long to be applied".to_owned());
    }
    if !health.node_eligible {
        row.level = row.level.max(Level::Warning);
        row.notes.push("the node is being deleted".to_owned());
    }
    row
}

/// A length of time in its two largest units.
pub fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m{}s", seconds % 60),
        (0, h, m) => format!("{h}h{m}m"),
        (d, h, _) => format!("{d}d{h}h"),
    }
}

/// Prints rows; what is wrong comes last.
pub fn write(rows: &[Row], to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    for row in rows {
        writeln!(to, "{:<10} {:<9} {}", row.part, row.level.word(), row.text)?;
    }
    for row in rows {
        for note in &row.notes {
            writeln!(to, "{} {}: {note}", row.level.word(), row.part)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
