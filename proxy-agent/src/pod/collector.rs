//! Garbage collection: what the plugin could not finish: killed ADDs, DELs that never came. Looks at files and interfaces only,
//! so it may run beside the main loop.
//!
//! Liveness is judged by the host side of the interface, never by the path of the namespace: inside a
//! container with its own mounts that path says nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    time::{Duration, Instant},
};

use cni_plugin::{
    attachment::{Attachment, State},
    clock,
    detach::Detach,
    ledger, leftovers,
    paths::{Paths, key_of},
    protocol::config::LONGEST,
    rpc::Key,
    salvage::{self, Links, Salvaged},
    wiring::{inspect, name, netlink::Netlink, veth},
};

use crate::usage::in_full;

/// Seconds after which an attachment without its interface is dead.
const DEAD: u64 = 120;
/// Seconds after its end for which an ADD may still be at work, and for which one may be that tells no end.
const ABANDONED: u64 = 30;

/// What is remembered from one garbage collection (a sweep) to the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Interfaces without an attachment that the last sweep saw.
    orphans: BTreeSet<String>,
    /// Since when each attachment is as it is.
    seen: BTreeMap<Key, (Progress, Instant)>,
}

/// How far an attachment is, as its record says (none: it has none that can be read), and by which ADD.
type Progress = Option<(State, (u32, u64))>;

impl Memory {
    /// Seconds for which this agent has seen attachments as they are.
    fn look(&mut self, keys: &[Key], records: &BTreeMap<&Key, &Attachment>) -> BTreeMap<Key, u64> {
        let before = std::mem::take(&mut self.seen);
        for key in keys {
            let progress = records.get(key).map(|r| (r.state, r.attempt));
            let same = before.get(key).filter(|(then, _)| *then == progress);
            let since = same.map_or_else(Instant::now, |(_, since)| *since);
            self.seen.insert(key.clone(), (progress, since));
        }
        let ages = self.seen.iter();
        ages.map(|(key, (_, since))| (key.clone(), since.elapsed().as_secs()))
            .collect()
    }
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Attachments that were undone.
    pub dead: Vec<Key>,
    /// Records of wired attachments.
    pub live: Vec<Attachment>,
    /// Attachments that have an interface, but no record that can be read.
    pub salvaged: Vec<Salvaged>,
    /// Host sides of pods' interfaces that are there.
    pub links: Links,
    /// What could not be done.
    pub errors: Vec<String>,
}

/// Keys of DELs that no agent has heard of. The name of the file tells all: what is in it may be torn.
pub fn tombstones(paths: &Paths) -> Vec<Key> {
    let Ok(entries) = fs::read_dir(paths.tombstones()) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| key_of(&entry.ok()?.path()))
        .collect()
}

/// Looks once and undoes what is dead. `known`: host sides of the endpoints that the agent serves.
pub fn sweep(paths: &Paths, boot_id: &str, known: &BTreeSet<String>, memory: &mut Memory) -> Sweep {
    let mut sweep = Sweep::default();
    if let Err(error) = try_sweep(paths, boot_id, known, memory, &mut sweep) {
        sweep.errors.push(in_full(&error));
    }
    sweep
}

fn try_sweep(
    paths: &Paths,
    boot_id: &str,
    known: &BTreeSet<String>,
    memory: &mut Memory,
    sweep: &mut Sweep,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    // In this order: an ADD at work has its record before its interface.
    let mut netlink = Netlink::open()?;
    sweep.links = salvage::links(&mut netlink)?;
    if !paths.root().exists() {
        return Ok(());
    }
    let links = &sweep.links;
    let keys = ledger::keys(paths, boot_id, deadline)?;
    let (records, broken) = Attachment::read_all(&paths.attachments())?;
    let read = (records.as_slice(), &broken);
    sweep.salvaged = salvage::live(&mut netlink, paths, boot_id, &keys, read, links)?;
    let nobodys = links.iter().filter(|(name, _)| !known.contains(*name));
    let nobodys = nobodys.map(|(name, link)| (name.clone(), link.clone()));
    let unnamed = salvage::unnamed(
        &mut netlink,
        paths,
        boot_id,
        &keys,
        &nobodys.collect(),
        &|_| Vec::new(),
    )?;
    sweep.salvaged.extend(unnamed);
    sweep
        .errors
        .extend(sweep.salvaged.iter().map(ToString::to_string));
    let by_key: BTreeMap<&Key, &Attachment> = records.iter().map(|r| (r.key(), r)).collect();
    let seen = memory.look(&keys, &by_key);
    let is_dead = |key: &&Key| {
        let record = by_key.get(key).copied();
        let has_file = record.is_some() || paths.attachment(key).exists();
        let linked = links.contains_key(&name::host_ifname(key));
        let seen = seen.get(*key).copied().unwrap_or(0);
        is_dead(record, has_file.then_some(seen), linked, clock::now())
    };
    let dead: Vec<Key> = keys.iter().filter(is_dead).cloned().collect();
    let dead = second_look(&mut netlink, dead, &by_key)?;
    let salvaged = sweep.salvaged.iter().map(|one| one.attachment.key());
    let owned: BTreeSet<String> = keys.iter().chain(salvaged).map(name::host_ifname).collect();
    let orphans: BTreeSet<String> = links
        .keys()
        .filter(|link| !owned.contains(*link) && !known.contains(*link))
        .cloned()
        .collect();
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
        .filter(|r| links.contains_key(&r.add.host_ifname))
        .collect();
    let left = leftovers::sweep(paths, deadline);
    sweep.errors.extend(left.iter().map(ToString::to_string));
    for key in &dead {
        undo(paths, key, deadline, sweep);
    }
    Ok(())
}

/// Those of `dead` that are. Looks by name before the interface of a pod that may live is removed: lists may lack what is there.
pub fn second_look(
    netlink: &mut Netlink,
    mut dead: Vec<Key>,
    records: &BTreeMap<&Key, &Attachment>,
) -> io::Result<Vec<Key>> {
    let is_creating = |key: &Key| records.get(key).is_some_and(|r| r.state == State::Creating);
    let mut there = BTreeSet::new();
    for key in dead.iter().filter(|key| !is_creating(key)) {
        let interface = name::host_ifname(key);
        if inspect::link(netlink, &interface)?.is_some() {
            tracing::warn!(interface, "a list of interfaces lacked one of a live pod");
            there.insert(key.clone());
        }
    }
    dead.retain(|key| !there.contains(key));
    Ok(dead)
}

/// `seen`: seconds for which it has been as it is; none if there is no record at all, which an ADD never leaves
/// behind while it works. Whatever the files say, a pod whose ADD may be done lives as long as its interface.
fn is_dead(record: Option<&Attachment>, seen: Option<u64>, linked: bool, now: u64) -> bool {
    let (record, seen) = match (record, seen) {
        (_, None) => return !linked,
        (None, Some(seen)) => return seen > DEAD && !linked,
        (Some(record), Some(seen)) => (record, seen),
    };
    // A stamp of the future (an older version stamped by the calendar) says nothing: what was seen does.
    let age = if record.since > now {
        seen
    } else {
        clock::age(now, record.since)
    };
    match record.state {
        State::Creating if (record.since..=now).contains(&record.until) => {
            clock::age(now, record.until) > ABANDONED
        }
        State::Creating => age > ABANDONED && record.until <= now || seen > LONGEST + ABANDONED,
        State::Ready => age > DEAD && !linked,
    }
}

fn undo(paths: &Paths, key: &Key, deadline: Instant, sweep: &mut Sweep) {
    let errors = Detach {
        key,
        of: None,
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

    fn record(state: State, since: u64, until: u64) -> Attachment {
        Attachment {
            state,
            since,
            until,
            ..Attachment::default()
        }
    }

    #[test]
    fn only_what_is_old_and_has_no_interface_is_dead() {
        let ready = |age: u64, linked| {
            is_dead(
                Some(&record(State::Ready, 5000 - age, 0)),
                Some(0),
                linked,
                5000,
            )
        };
        assert!(!ready(100, false));
        assert!(ready(200, false));
        assert!(!ready(1000, true));
    }

    #[test]
    fn an_add_is_abandoned_some_time_after_it_has_given_up() {
        let dead = |since: u64, until: u64, seen| {
            is_dead(
                Some(&record(State::Creating, since, until)),
                Some(seen),
                true,
                5000,
            )
        };
        assert!(!dead(4950, 5010, 50), "at work");
        assert!(!dead(4910, 4970, 60), "may be undoing");
        assert!(dead(4900, 4960, 60));
        assert!(!dead(4980, 0, 10) && dead(4960, 0, 10), "tells no end");
        // Stamped by the calendar, by an older version.
        let future = 1_800_000_000;
        assert!(!dead(future, 0, 20) && dead(future, 0, 40));
        assert!(!dead(future, future + 15, 60) && dead(future, future + 15, 100));
    }

    #[test]
    fn how_long_it_is_seen_counts_from_its_last_change() {
        let mut memory = Memory::default();
        let (mut one, keys) = (record(State::Creating, 1, 0), [Key::default()]);
        let mut since = |record: &Attachment| {
            let key = record.key().clone();
            memory.look(&keys, &BTreeMap::from([(record.key(), record)]));
            memory.seen[&key].1
        };
        let first = since(&one);
        assert_eq!(since(&one), first);
        one.attempt = (1, 1);
        assert!(since(&one) > first);
    }

    #[test]
    fn a_torn_tombstone_still_tells_who_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths::new(folder.path());
        fs::create_dir_all(paths.tombstones()).unwrap();
        for name in ["c:eth0.json", ".d:eth0.json.7", "nobody"] {
            fs::write(paths.tombstones().join(name), "{").unwrap();
        }
        let key = Key {
            container_id: "c".into(),
            ifname: "eth0".into(),
        };
        assert_eq!(tombstones(&paths), [key]);
    }

    #[test]
    fn without_a_good_record_the_interface_decides() {
        let dead = |seen, linked| is_dead(None, seen, linked, 5000);
        assert!(!dead(Some(1000), true), "broken");
        assert!(dead(Some(1000), false), "broken");
        assert!(!dead(Some(100), false), "broken a moment ago");
        assert!(!dead(None, true), "gone");
        assert!(dead(None, false), "gone");
    }
}
