//! Endpoints of a former agent: the plugin's records tell which there are, `ENDPOINTS` which id each has.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cni_plugin::{
    attachment::{Attachment, Broken, State},
    ledger,
    paths::Paths,
    rpc::{Add, Key},
    salvage,
    wiring::netlink::Netlink,
};
use proxy_common::endpoints::Endpoint;

use super::{entries::endpoint, ids::Ids, local::Local};

/// Endpoints by attachment.
pub(super) type Restored = BTreeMap<Key, Local>;

/// How long the plugin's lock may be waited for: Services wait for us meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Wired attachments of this boot, with their ids. One whose record is broken or gone counts while its interface
/// is there: an entry that went would cut a pod off that lives.
pub(super) fn restore(
    paths: &Paths,
    boot_id: &str,
    pinned: &BTreeMap<u32, Endpoint>,
    limit: u32,
) -> anyhow::Result<(Restored, Ids)> {
    let folder = paths.attachments();
    let (records, broken) =
        Attachment::read_all(&folder).with_context(|| format!("read {}", folder.display()))?;
    let salvaged = salvage(paths, boot_id, (&records, &broken)).unwrap_or_else(|error| {
        let error = format!("{error:#}");
        tracing::error!(
            error,
            "pods without a good record are not served before the next sweep"
        );
        Vec::new()
    });
    let by_interface = pinned.iter().map(|(id, e)| (e.ifindex, (*id, e)));
    let pinned: BTreeMap<u32, (u32, &Endpoint)> = by_interface.collect();
    let live = records
        .into_iter()
        .chain(salvaged)
        .filter(|r| r.boot_id == boot_id && r.state != State::Creating)
        .map(|r| (r.add, r.since));
    let (mut known, mut new) = (BTreeMap::new(), Vec::new());
    let mut used = BTreeSet::new();
    for (mut add, since) in live {
        let entry = pinned
            .get(&add.host_ifindex)
            .filter(|(id, e)| is_same(e, &add) && (1..limit).contains(id));
        match entry.map(|(id, e)| (*id, e.pod_mac, e.flags)) {
            Some((id, mac, flags)) if used.insert(id) => {
                add.pod_mac = mac;
                let mut local = Local::new(id, add, since);
                local.limiting.flags = flags;
                known.insert(local.add.key.clone(), local);
            }
            _ => new.push((add, since)),
        }
    }
    let mut ids = Ids::new(limit, used);
    for (add, since) in new {
        let Some(id) = ids.take() else {
            tracing::error!(pod = %add.pod, limit, "no endpoint id is free: pod is cut off (raise maps.endpoints)");
            continue;
        };
        known.insert(add.key.clone(), Local::new(id, add, since));
    }
    Ok((known, ids))
}

fn salvage(
    paths: &Paths,
    boot_id: &str,
    known: (&[Attachment], &Broken),
) -> anyhow::Result<Vec<Attachment>> {
    if !paths.root().exists() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::open().context("open netlink socket")?;
    let links = salvage::links(&mut netlink).context("list interfaces")?;
    let keys = ledger::keys(paths, boot_id, Instant::now() + PATIENCE).or_else(|error| {
        tracing::warn!(%error, "attachments are read without the lock");
        ledger::peek(paths, boot_id)
    })?;
    let salvaged = salvage::live(&mut netlink, paths, boot_id, &keys, known, &links)
        .context("read pods' interfaces")?;
    for one in &salvaged {
        tracing::warn!(record = %one.record.display(), "{one}");
    }
    Ok(salvaged.into_iter().map(|one| one.attachment).collect())
}

/// Whether an entry was made of this attachment: interface indexes are used again after a reboot. Flags may differ:
/// a record that cannot be read does not tell them. So may the pod's hardware address, which a later plugin chose.
fn is_same(entry: &Endpoint, add: &Add) -> bool {
    let made = Endpoint {
        pod_mac: entry.pod_mac,
        ..endpoint(add, entry.flags)
    };
    *entry == made
}
