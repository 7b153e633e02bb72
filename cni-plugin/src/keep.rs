//! Self-healing: records and addresses of attachments that somebody has taken away or damaged, written again by who knows them: the agent.

use std::{collections::BTreeSet, io, net::IpAddr, path::PathBuf, time::Instant};

use crate::{
    attachment::{Attachment, State as Progress},
    ipam::State,
    ledger,
    paths::Paths,
    protocol::error::{Error, code},
    rpc::Key,
    salvage::{self, Links},
    wiring::{name::host_ifname, netlink::Netlink},
};

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Records that were not there, or not to be read.
    pub records: Vec<PathBuf>,
    /// Addresses that were not noted as given out.
    pub addresses: Vec<IpAddr>,
    /// Attachments with an address that another has been given meanwhile, in words.
    pub conflicts: Vec<String>,
}

/// Whether records and addresses of these are there. Looks without the lock: a DEL at work may be seen half done.
pub fn is_whole(paths: &Paths, boot_id: &str, known: &[Attachment]) -> io::Result<bool> {
    if known.is_empty() {
        return Ok(true);
    }
    let Some(state) = State::read(&paths.ipam(), boot_id)? else {
        return Ok(false);
    };
    let leased: BTreeSet<String> = state.leases.iter().map(|l| host_ifname(&l.key)).collect();
    let is_leased = |one: &Attachment| leased.contains(&host_ifname(one.key()));
    Ok(known.iter().all(is_leased) && lacking(&recorded(paths)?, known).next().is_none())
}

/// Writes what is missing of these, for as long as their interface is there: a DEL removes it first. `known` is as it was when
/// it was whole.
pub fn keep(
    paths: &Paths,
    boot_id: &str,
    known: &[Attachment],
    deadline: Instant,
) -> Result<Kept, Error> {
    let failed =
        |e: io::Error| Error::new(code::WIRING, "look for pods' interfaces").because(e.to_string());
    let read = |e: io::Error| Error::io(format!("read {}", paths.attachments().display()), &e);
    let _held = ledger::hold(paths, deadline)?;
    let links = Netlink::open()
        .and_then(|mut at| salvage::links(&mut at))
        .map_err(failed)?;
    let known: Vec<Attachment> = known
        .iter()
        .filter(|one| is_there(one, &links))
        .cloned()
        .collect();
    let mut kept = Kept::default();
    for one in lacking(&recorded(paths).map_err(read)?, &known) {
        ledger::record(paths, one)?;
        kept.records.push(paths.attachment(one.key()));
    }
    let before = State::read(&paths.ipam(), boot_id).ok().flatten();
    // Of all records, where there is none.
    let mut state = ledger::read(paths, boot_id)?;
    if before.is_none() {
        kept.addresses.extend(state.taken());
    }
    for one in &known {
        lease(&mut state, one, &mut kept);
    }
    if before.as_ref() != Some(&state) {
        ledger::write(paths, &state)?;
    }
    Ok(kept)
}

fn is_there(one: &Attachment, links: &Links) -> bool {
    let link = links.get(&one.add.host_ifname);
    link.is_some_and(|link| link.index == one.add.host_ifindex)
}

/// Notes that an attachment has its addresses, unless another has.
fn lease(state: &mut State, one: &Attachment, kept: &mut Kept) {
    let name = host_ifname(one.key());
    if state
        .leases
        .iter()
        .any(|lease| host_ifname(&lease.key) == name)
    {
        return;
    }
    let taken = state.taken();
    if let Some(ip) = one.add.ips.iter().find(|ip| taken.contains(ip)) {
        let other = state.leases.iter().find(|lease| lease.ips.contains(ip));
        let other = other.map_or_else(String::new, |lease| lease.key.container_id.clone());
        let pod = &one.add.pod;
        kept.conflicts.push(format!(
            "{ip} of pod {pod} is noted as given to container {other}"
        ));
        return;
    }
    state.give(one.key().clone(), one.add.ips.clone());
    kept.addresses.extend(&one.add.ips);
}

/// A record, as far as it matters here.
struct Recorded {
    host_ifname: String,
    key: Key,
    ready: bool,
    uid: String,
}

fn recorded(paths: &Paths) -> io::Result<Vec<Recorded>> {
    let (records, _) = Attachment::read_all(&paths.attachments())?;
    let records = records.into_iter().map(|record| Recorded {
        host_ifname: host_ifname(record.key()),
        key: record.add.key,
        ready: record.state == Progress::Ready,
        uid: record.add.pod.uid,
    });
    Ok(records.collect())
}

/// Those without a record, of whatever key; and those whose record does not tell which pod of this name it is, though that is
/// known by now.
fn lacking<'a>(
    records: &[Recorded],
    known: &'a [Attachment],
) -> impl Iterator<Item = &'a Attachment> {
    let lacks = |one: &&Attachment| {
        let name = host_ifname(one.key());
        let mut own = records
            .iter()
            .filter(|record| record.host_ifname == name)
            .peekable();
        own.peek().is_none() || own.any(|r| is_poorer(r, one))
    };
    known.iter().filter(lacks)
}

fn is_poorer(record: &Recorded, known: &Attachment) -> bool {
    let is_its = record.ready && record.key == *known.key();
    is_its && record.uid.is_empty() && !known.add.pod.uid.is_empty()
}
