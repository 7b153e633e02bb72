//! Endpoints of a former agent: the plugin's records tell which there are, `ENDPOINTS` which id each has.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use cni_plugin::{
    attachment::{Attachment, State},
    paths::Paths,
    rpc::{Add, Key},
};
use proxy_common::endpoints::Endpoint;

use super::{entries::endpoint, ids::Ids, local::Local};

/// Endpoints by attachment.
pub(super) type Restored = BTreeMap<Key, Local>;

/// Wired attachments of this boot, with their ids.
pub(super) fn restore(
    paths: &Paths,
    boot_id: &str,
    pinned: &[(u32, Endpoint)],
    limit: u32,
) -> anyhow::Result<(Restored, Ids)> {
    let folder = paths.attachments();
    let (records, broken) =
        Attachment::read_all(&folder).with_context(|| format!("read {}", folder.display()))?;
    for (path, error) in broken {
        tracing::warn!(path = %path.display(), %error, "attachment not readable");
    }
    let pinned: BTreeMap<u32, &Endpoint> = pinned.iter().map(|(k, v)| (*k, v)).collect();
    let live = records
        .into_iter()
        .filter(|r| r.boot_id == boot_id && r.state != State::Creating)
        .map(|r| (r.add, r.since));
    let (mut known, mut new) = (BTreeMap::new(), Vec::new());
    let mut used = BTreeSet::new();
    for (add, since) in live {
        let id = pinned
            .get(&add.host_ifindex)
            .filter(|e| is_same(e, &add) && (1..limit).contains(&e.id))
            .map(|e| e.id);
        match id {
            Some(id) if used.insert(id) => {
                known.insert(add.key.clone(), Local::new(id, add, since));
            }
            _ => new.push((add, since)),
        }
    }
    let mut ids = Ids::new(limit, used);
    for (add, since) in new {
        let id = ids
            .take()
            .with_context(|| format!("no endpoint id is free for pod {}", add.pod))?;
        known.insert(add.key.clone(), Local::new(id, add, since));
    }
    Ok((known, ids))
}

/// Whether an entry was made of this attachment: interface indexes are used again after a reboot.
fn is_same(entry: &Endpoint, add: &Add) -> bool {
    *entry == endpoint(entry.id, add)
}
