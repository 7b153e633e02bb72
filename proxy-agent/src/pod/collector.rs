//! What the plugin could not finish: killed ADDs, DELs that never came. Looks at files and interfaces only,
//! so it may run beside the main loop.
//!
//! Liveness is judged by the host side of the interface, never by the path of the namespace: inside a
//! container with its own mounts that path says nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cni_plugin::{
    attachment::{Attachment, State},
    detach::Detach,
    ledger, leftovers,
    paths::{Paths, key_of},
    rpc::Key,
    salvage::{self, Links, Salvaged},
    wiring::{name, netlink::Netlink, veth},
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
        sweep.errors.push(format!("{error:#}"));
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
    sweep
        .errors
        .extend(sweep.salvaged.iter().map(ToString::to_string));
    let mut dead = Vec::new();
    for key in &keys {
        let record = records.iter().find(|r| r.key() == key);
        let linked = links.contains_key(&name::host_ifname(key));
        let age = record.map_or_else(
            || file_age(&paths.attachment(key)),
            |record| Some(ledger::now().saturating_sub(record.since)),
        );
        if is_dead(record.map(|r| r.state), age, linked) {
            dead.push(key);
        }
    }
    let owned: BTreeSet<String> = keys.iter().map(name::host_ifname).collect();
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
    let left = leftovers::sweep(paths);
    sweep.errors.extend(left.iter().map(ToString::to_string));
    for key in dead {
        undo(paths, key, deadline, sweep);
    }
    Ok(())
}

/// Seconds since a file was written; none if there is none.
fn file_age(path: &Path) -> Option<u64> {
    let written = fs::metadata(path).and_then(|m| m.modified()).ok()?;
    // Of the future: as if it were new.
    Some(written.elapsed().map_or(0, |age| age.as_secs()))
}

/// `state`: none if no record says it. `age`: none if there is no record at all, which an ADD never leaves behind
/// while it works. Whatever the files say, a pod whose ADD may be done lives as long as its interface.
const fn is_dead(state: Option<State>, age: Option<u64>, linked: bool) -> bool {
    match (state, age) {
        (Some(State::Creating), Some(age)) => age > ABANDONED,
        (_, Some(age)) => age > DEAD && !linked,
        (_, None) => !linked,
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

    #[test]
    fn only_what_is_old_and_has_no_interface_is_dead() {
        let (ready, creating) = (Some(State::Ready), Some(State::Creating));
        assert!(!is_dead(ready, Some(100), false));
        assert!(is_dead(ready, Some(200), false));
        assert!(!is_dead(ready, Some(1000), true));
        assert!(!is_dead(creating, Some(20), false));
        assert!(is_dead(creating, Some(40), true));
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
        assert!(!is_dead(None, Some(1000), true), "broken");
        assert!(is_dead(None, Some(1000), false), "broken");
        assert!(!is_dead(None, Some(100), false), "broken a moment ago");
        assert!(!is_dead(None, None, true), "gone");
        assert!(is_dead(None, None, false), "gone");
    }
}
