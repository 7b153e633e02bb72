//! Attachments and their addresses: the two are written together, under the lock.
//!
//! The record of an attachment is written before its addresses are taken and removed after they are given
//! back, so that a kill between the two leaves something that the collector finds.

use std::{collections::HashSet, fs, io, net::IpAddr, time::Instant};

use ipnetwork::IpNetwork;

use crate::{
    attachment::{Attachment, Broken, State as Progress},
    clock,
    ipam::{State, Usage, file::write_json, lock},
    node_file::NodeFile,
    paths::{Paths, key_of},
    protocol::error::{Error, code},
    rpc::Key,
    salvage,
    talk::say,
    wiring::occupied::Occupied,
};

/// Takes one address of each family for an attachment and writes its record, all or nothing. A key that has
/// addresses keeps them, and forgets that it was ever deleted.
pub fn take(
    paths: &Paths,
    attachment: &mut Attachment,
    node: &NodeFile,
    deadline: Instant,
) -> Result<(), Error> {
    let failed =
        |e: io::Error| Error::new(code::WIRING, "look for addresses in use").because(e.to_string());
    let families = ranges(node).map(|range| range.is_ipv4());
    let mut occupied = Occupied::read(families).map_err(failed)?;
    let mut foreign: HashSet<IpAddr> = occupied.neighbours().clone();
    foreign.extend(&node.reserved);
    if !lease(paths, attachment, node, (&foreign, &[]), deadline)? {
        return Ok(());
    }
    loop {
        // Not under the lock: the kernel may answer late, and all other ADDs would wait.
        let ips = attachment.add.ips.clone();
        let mut free = Vec::new();
        for ip in &ips {
            if occupied.is_routed(*ip).map_err(failed)? {
                foreign.insert(*ip);
            } else {
                free.push(*ip);
            }
        }
        if free == ips {
            return Ok(());
        }
        if let Err(error) = lease(paths, attachment, node, (&foreign, &free), deadline) {
            let (key, boot) = (attachment.key(), &attachment.boot_id);
            give_back(paths, key, Some(attachment), boot, false, deadline)?;
            return Err(error);
        }
    }
}

/// `keep`: what this very attachment has, and may; what else it has goes. True: the key had no addresses, or not
/// these.
fn lease(
    paths: &Paths,
    attachment: &mut Attachment,
    node: &NodeFile,
    (foreign, keep): (&HashSet<IpAddr>, &[IpAddr]),
    deadline: Instant,
) -> Result<bool, Error> {
    let _held = hold(paths, deadline)?;
    let mut state = read(paths, &node.boot_id)?;
    let key = attachment.key().clone();
    remove(&paths.tombstone(&key))?;
    let before = std::mem::take(&mut attachment.add.ips);
    if before.is_empty() {
        if let Some(known) = state.lease(&key) {
            attachment.add.ips = known.to_vec();
            record(paths, attachment)?;
            return Ok(false);
        }
    } else {
        state.leases.retain(|lease| lease.key != key);
        for ip in before.iter().filter(|ip| !keep.contains(ip)) {
            state.pass_over(*ip, clock::now());
        }
    }
    attachment.add.ips = choose(&mut state, &key, node, (foreign, keep))?;
    record(paths, attachment)?;
    if let Err(e) = write(paths, &state) {
        drop(fs::remove_file(paths.attachment(&key)));
        return Err(e);
    }
    Ok(true)
}

fn choose(
    state: &mut State,
    key: &Key,
    node: &NodeFile,
    (foreign, keep): (&HashSet<IpAddr>, &[IpAddr]),
) -> Result<Vec<IpAddr>, Error> {
    let now = clock::now();
    let mut ips = Vec::new();
    for range in ranges(node) {
        if let Some(kept) = keep.iter().find(|ip| range.contains(**ip)) {
            ips.push(*kept);
            continue;
        }
        let choice = state
            .choose(range, &|ip| foreign.contains(&ip), now)
            .map_err(|exhausted| {
                Error::new(code::ALLOCATION, exhausted.to_string())
                    .because("see 'proxyctl dump endpoints' on the node")
            })?;
        if choice.hasty {
            say(format_args!(
                "address {} of {range} is used again early",
                choice.ip
            ));
        }
        state.advance(range, &choice, now);
        ips.push(choice.ip);
    }
    state.give(key.clone(), ips.clone());
    Ok(ips)
}

/// The ranges that are used: the first of each family, IPv4 first.
pub fn ranges(node: &NodeFile) -> impl Iterator<Item = IpNetwork> {
    let first = |ipv4| node.pod_cidrs.iter().find(|r| r.is_ipv4() == ipv4).copied();
    [first(true), first(false)].into_iter().flatten()
}

/// Writes the record of an attachment.
pub fn record(paths: &Paths, attachment: &Attachment) -> Result<(), Error> {
    let path = paths.attachment(attachment.key());
    write_json(&path, attachment).map_err(|e| Error::io(format!("write {}", path.display()), &e))
}

/// Whether the key is still this ADD's: no DEL has been there since, and no other ADD.
pub fn is_ours(paths: &Paths, attachment: &Attachment) -> bool {
    let record = Attachment::read(&paths.attachment(attachment.key()));
    record.is_ok_and(|r| r.attempt == attachment.attempt && r.state == Progress::Creating)
}

/// The error of an ADD whose key is not its own any more.
pub fn lost(attachment: &Attachment) -> Error {
    let pod = &attachment.add.pod;
    let msg = format!("the network of pod {pod} was deleted while ADD was at work");
    Error::new(code::TRY_AGAIN, msg)
}

/// Records that an ADD is done, if the key is still its own: else its addresses may be another pod's by now.
pub fn confirm(paths: &Paths, attachment: &mut Attachment, deadline: Instant) -> Result<(), Error> {
    let _held = hold(paths, deadline)?;
    let state = read(paths, &attachment.boot_id)?;
    let leased = state.lease(attachment.key()) == Some(attachment.add.ips.as_slice());
    if !leased || !is_ours(paths, attachment) {
        return Err(lost(attachment));
    }
    attachment.state = Progress::Ready;
    record(paths, attachment)
}

/// Gives the addresses of a key back and removes its record. `rest`: someone may know the addresses, they
/// are not given to others at once. `of`: only if the key is still this ADD's. Unknown keys are no error.
pub fn give_back(
    paths: &Paths,
    key: &Key,
    of: Option<&Attachment>,
    boot_id: &str,
    rest: bool,
    deadline: Instant,
) -> Result<(), Error> {
    let _held = hold(paths, deadline)?;
    if of.is_some_and(|attachment| !is_ours(paths, attachment)) {
        return Ok(());
    }
    let mut state = read(paths, boot_id)?;
    if state.lease(key).is_some() {
        state.release(key, if rest { clock::now() } else { 0 });
        write(paths, &state)?;
    }
    remove(&paths.attachment(key))
}

/// Keys that have a record, be it unreadable, or addresses.
pub fn keys(paths: &Paths, boot_id: &str, deadline: Instant) -> Result<Vec<Key>, Error> {
    let _held = hold(paths, deadline)?;
    let state = read(paths, boot_id)?;
    keys_of(paths, state)
}

/// As [`keys`], while the lock is not to be had. Each file is whole; an ADD or DEL at work may be seen half done.
pub fn peek(paths: &Paths, boot_id: &str) -> Result<Vec<Key>, Error> {
    let path = paths.ipam();
    let state = State::read(&path, boot_id)
        .map_err(|e| Error::io(format!("read {}", path.display()), &e))?;
    keys_of(paths, state.unwrap_or_default())
}

fn keys_of(paths: &Paths, state: State) -> Result<Vec<Key>, Error> {
    let mut keys: Vec<Key> = state.leases.into_iter().map(|l| l.key).collect();
    let (records, broken) = attachments(paths)?;
    keys.extend(records.iter().map(|r| r.key().clone()));
    keys.extend(broken.iter().filter_map(|(path, _)| key_of(path)));
    keys.sort();
    keys.dedup();
    Ok(keys)
}

/// Removes a file that may be absent.
pub fn remove(path: &std::path::Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", path.display()), &e))
        }
        _ => Ok(()),
    }
}

/// Takes the lock; one that is held for longer than a call may take is tried again later.
pub(crate) fn hold(paths: &Paths, deadline: Instant) -> Result<lock::Lock, Error> {
    lock::lock(&paths.lock(), deadline).map_err(|e| {
        let what = format!("lock {}", paths.lock().display());
        match e.kind() {
            io::ErrorKind::WouldBlock => Error::new(code::TRY_AGAIN, what).because(e.to_string()),
            _ => Error::io(what, &e),
        }
    })
}

fn attachments(paths: &Paths) -> Result<(Vec<Attachment>, Broken), Error> {
    Attachment::read_all(&paths.attachments())
        .map_err(|e| Error::io(format!("read {}", paths.attachments().display()), &e))
}

/// Writes who has what.
pub(crate) fn write(paths: &Paths, state: &State) -> Result<(), Error> {
    let path = paths.ipam();
    let written = state.write(&path);
    written.map_err(|e| Error::io(format!("write {}", path.display()), &e))
}

/// This boot's state. Without one, the records tell who has what; those of another boot are dropped.
pub(crate) fn read(paths: &Paths, boot_id: &str) -> Result<State, Error> {
    let path = paths.ipam();
    let state = State::read(&path, boot_id)
        .map_err(|e| Error::io(format!("read {}", path.display()), &e))?;
    if let Some(mut state) = state {
        if state.clamp(clock::now()) {
            write(paths, &state)?;
        }
        return Ok(state);
    }
    let (records, broken) = attachments(paths)?;
    for record in records.iter().filter(|record| record.boot_id != boot_id) {
        remove(&paths.attachment(record.key()))?;
    }
    of_records(records, &broken, boot_id)
}

/// As [`read`], for who only looks: without the lock, and nothing is written or removed.
pub fn view(paths: &Paths, boot_id: &str) -> Result<State, Error> {
    let path = paths.ipam();
    let state = State::read(&path, boot_id)
        .map_err(|e| Error::io(format!("read {}", path.display()), &e))?;
    if let Some(state) = state {
        return Ok(state);
    }
    let (records, broken) = attachments(paths)?;
    of_records(records, &broken, boot_id)
}

/// How many addresses are left of the ranges that are used, for who only looks.
pub fn usage(paths: &Paths, node: &NodeFile) -> Result<Vec<Usage>, Error> {
    let state = view(paths, &node.boot_id)?;
    let now = clock::now();
    Ok(ranges(node)
        .map(|range| state.usage(range, &node.reserved, now))
        .collect())
}

/// The state that the records of this boot tell.
fn of_records(records: Vec<Attachment>, broken: &Broken, boot_id: &str) -> Result<State, Error> {
    let mut state = State {
        boot_id: boot_id.to_owned(),
        ..State::default()
    };
    let unread = salvage::leases(broken).map_err(|e| Error::io("look for pods' interfaces", &e))?;
    for (key, ips) in unread {
        state.give(key, ips);
    }
    for record in records.into_iter().filter(|r| r.boot_id == boot_id) {
        state.give(record.add.key, record.add.ips);
    }
    Ok(state)
}
