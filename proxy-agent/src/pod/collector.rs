//! What the plugin could not finish: killed ADDs, DELs that never came. Looks at files and interfaces only,
//! so it may run beside the main loop.
//!
//! Liveness is judged by the host side of the interface, never by the path of the namespace: inside a
//! container with its own mounts that path says nothing.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use cni_plugin::{
    attachment::{Attachment, State},
    detach::Detach,
    ledger,
    paths::Paths,
    rpc::Key,
    wiring::{inspect, name, netlink::Netlink, veth},
};

/// Seconds after which an attachment without its interface is dead.
const DEAD: u64 = 120;
/// Seconds after which an ADD that is not done is dead: twice what it may take.
const ABANDONED: u64 = 30;

/// What is remembered from sweep to sweep.
#[derive(Debug, Default)]
pub struct Memory {
    /// Interfaces without an attachment that the last sweep saw.
    orphans: BTreeSet<String>,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Attachments that were undone.
    pub dead: Vec<Key>,
    /// Records of wired attachments.
    pub live: Vec<Attachment>,
    /// What could not be done.
    pub errors: Vec<String>,
}

/// Keys of DELs that no agent has heard of.
pub fn tombstones(paths: &Paths) -> Vec<Key> {
    let Ok(entries) = fs::read_dir(paths.tombstones()) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| fs::read(entry.ok()?.path()).ok())
        .filter_map(|text| serde_json::from_slice(&text).ok())
        .collect()
}

/// Looks once and undoes what is dead.
pub fn sweep(paths: &Paths, boot_id: &str, memory: &mut Memory) -> Sweep {
    let mut sweep = Sweep::default();
    if let Err(error) = try_sweep(paths, boot_id, memory, &mut sweep) {
        sweep.errors.push(format!("{error:#}"));
    }
    sweep
}

fn try_sweep(
    paths: &Paths,
    boot_id: &str,
    memory: &mut Memory,
    sweep: &mut Sweep,
) -> anyhow::Result<()> {
    if !paths.root().exists() {
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    // In this order: an ADD at work has its record before its interface.
    let mut netlink = Netlink::open()?;
    let links: BTreeSet<String> = inspect::links(&mut netlink)?
        .into_iter()
        .map(|l| l.name)
        .filter(|n| name::is_host_ifname(n))
        .collect();
    let keys = ledger::keys(paths, boot_id, deadline)?;
    let (records, broken) = Attachment::read_all(&paths.attachments())?;
    for (path, error) in broken {
        sweep
            .errors
            .push(format!("read {}: {error}", path.display()));
    }
    for key in &keys {
        let record = records.iter().find(|r| r.key() == key);
        if is_dead(record, &links, ledger::now()) {
            undo(paths, key, deadline, sweep);
        }
    }
    let owned: BTreeSet<String> = keys.iter().map(name::host_ifname).collect();
    let orphans: BTreeSet<String> = links.difference(&owned).cloned().collect();
    for orphan in orphans.intersection(&memory.orphans) {
        tracing::info!(interface = orphan, "interface without a pod removed");
        if let Err(error) = veth::remove(&mut netlink, orphan) {
            sweep.errors.push(format!("remove {orphan}: {error}"));
        }
    }
    memory.orphans = orphans;
    sweep.live = records
        .into_iter()
        .filter(|r| r.state != State::Creating && r.boot_id == boot_id)
        .filter(|r| links.contains(&r.add.host_ifname))
        .collect();
    Ok(())
}

/// No record: addresses were given, but the record is gone.
fn is_dead(record: Option<&Attachment>, links: &BTreeSet<String>, now: u64) -> bool {
    let Some(record) = record else { return true };
    let age = now.saturating_sub(record.since);
    match record.state {
        State::Creating => age > ABANDONED,
        State::Pending | State::Ready => age > DEAD && !links.contains(&record.add.host_ifname),
    }
}

fn undo(paths: &Paths, key: &Key, deadline: Instant, sweep: &mut Sweep) {
    let errors = Detach {
        key,
        netns: None,
        tell_agent: false,
        rest: true,
        deadline,
    }
    .run(paths);
    if errors.is_empty() {
        sweep.dead.push(key.clone());
    }
    sweep.errors.extend(errors.iter().map(ToString::to_string));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: State, since: u64) -> Attachment {
        let mut record = Attachment {
            state,
            since,
            ..Attachment::default()
        };
        record.add.host_ifname = "weir0".into();
        record
    }

    #[test]
    fn only_what_is_old_and_has_no_interface_is_dead() {
        let none = BTreeSet::new();
        let link = BTreeSet::from(["weir0".to_owned()]);
        let dead = |r: &Attachment, links| is_dead(Some(r), links, 1000);
        assert!(!dead(&record(State::Ready, 900), &none));
        assert!(dead(&record(State::Ready, 800), &none));
        assert!(!dead(&record(State::Ready, 0), &link));
        assert!(!dead(&record(State::Creating, 980), &none));
        assert!(dead(&record(State::Creating, 960), &link));
        assert!(is_dead(None, &link, 1000));
    }
}
