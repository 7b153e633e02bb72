//! State recovery: endpoints of a former agent: the plugin's records tell which there are, `ENDPOINTS` which id each has. Where records are lost
//! the interfaces tell, and `ENDPOINTS` and `CLIENTS` what these do not.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
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
use proxy_common::{
    address::{octets4, octets6},
    endpoints::Endpoint,
    sockets::Client,
};

use super::{entries::endpoint, ids::Ids, local::Local};
use crate::usage::in_full;

/// Endpoints by attachment.
pub(super) type Restored = BTreeMap<Key, Local>;

/// How long the plugin's lock may be waited for: Services wait for us meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is pinned of endpoints.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pinned<'a> {
    pub(super) endpoints: &'a BTreeMap<u32, Endpoint>,
    pub(super) clients: &'a BTreeMap<u64, Client>,
}

/// Wired attachments of this boot, with their ids. One whose record is broken or gone counts while its interface
/// is there: an entry that went would cut a pod off that lives.
pub(super) fn restore(
    paths: &Paths,
    boot_id: &str,
    pinned: Pinned<'_>,
    limit: u32,
) -> anyhow::Result<(Restored, Ids)> {
    let folder = paths.attachments();
    let (records, broken) =
        Attachment::read_all(&folder).with_context(|| format!("read {}", folder.display()))?;
    let salvaged = salvage(paths, boot_id, (&records, &broken), pinned).unwrap_or_else(|error| {
        let error = in_full(&error);
        tracing::error!(
            error,
            "pods without a good record are not served before the next sweep"
        );
        Vec::new()
    });
    let records = records.into_iter().map(|record| (record, false));
    let salvaged = salvaged.into_iter().map(|record| (record, true));
    let live = records
        .chain(salvaged)
        .filter(|(r, _)| r.boot_id == boot_id && r.state != State::Creating);
    let (mut known, mut new) = (BTreeMap::new(), Vec::new());
    let mut used = BTreeSet::new();
    for (mut record, lost) in live {
        let add = &mut record.add;
        let entry = pinned.of(add.host_ifindex);
        let entry = entry.filter(|(id, e)| is_same(e, add) && (1..limit).contains(id));
        match entry.map(|(id, e)| (id, e.pod_mac, e.flags)) {
            Some((id, mac, flags)) if used.insert(id) => {
                add.pod_mac = mac;
                let mut local = Local::of(id, record, lost);
                local.limiting.flags = flags;
                known.insert(local.add.key.clone(), local);
            }
            _ => new.push((record, lost)),
        }
    }
    let mut ids = Ids::new(limit, used);
    for (record, lost) in new {
        let Some(id) = ids.take() else {
            let pod = &record.add.pod;
            tracing::error!(%pod, limit, "no endpoint id is free: pod is cut off (raise maps.endpoints)");
            continue;
        };
        let local = Local::of(id, record, lost);
        known.insert(local.add.key.clone(), local);
    }
    Ok((known, ids))
}

fn salvage(
    paths: &Paths,
    boot_id: &str,
    known: (&[Attachment], &Broken),
    pinned: Pinned<'_>,
) -> anyhow::Result<Vec<Attachment>> {
    let mut netlink = Netlink::open().context("open netlink socket")?;
    // In this order: an ADD at work has its record before its interface.
    let links = salvage::links(&mut netlink).context("list interfaces")?;
    let keys = ledger::keys(paths, boot_id, Instant::now() + PATIENCE).or_else(|error| {
        tracing::warn!(%error, "attachments are read without the lock");
        ledger::peek(paths, boot_id)
    })?;
    let mut salvaged = salvage::live(&mut netlink, paths, boot_id, &keys, known, &links)
        .context("read pods' interfaces")?;
    let addresses = |index: u32| pinned.addresses(index);
    let unnamed = salvage::unnamed(&mut netlink, paths, boot_id, &keys, &links, &addresses)
        .context("read interfaces of pods without a record")?;
    salvaged.extend(unnamed);
    for one in &salvaged {
        tracing::warn!(record = %one.record.display(), "{one}");
    }
    let mut salvaged: Vec<Attachment> = salvaged.into_iter().map(|one| one.attachment).collect();
    for add in salvaged.iter_mut().map(|one| &mut one.add) {
        if add.netns_cookie == 0 {
            add.netns_cookie = pinned.cookie(add);
        }
    }
    Ok(salvaged)
}

impl<'a> Pinned<'a> {
    /// The endpoint of an interface, and its id.
    fn of(self, ifindex: u32) -> Option<(u32, &'a Endpoint)> {
        let mut endpoints = self.endpoints.iter();
        let (id, endpoint) = endpoints.find(|(_, endpoint)| endpoint.ifindex == ifindex)?;
        Some((*id, endpoint))
    }

    fn addresses(self, ifindex: u32) -> Vec<IpAddr> {
        let Some((_, endpoint)) = self.of(ifindex) else {
            return Vec::new();
        };
        let v4 = IpAddr::from(octets4(endpoint.address4));
        let v6 = IpAddr::from(octets6(endpoint.address6));
        let both = [v4, v6].into_iter();
        both.filter(|ip| !ip.is_unspecified()).collect()
    }

    /// The cookie of the network namespace that has these addresses; 0 if nobody knows.
    fn cookie(self, add: &Add) -> u64 {
        let endpoint = endpoint(add, 0);
        let is_its = |client: &Client| {
            (client.address4, client.address6) == (endpoint.address4, endpoint.address6)
        };
        let mut clients = self.clients.iter();
        let own = clients.find(|(_, client)| is_its(client));
        own.map_or(0, |(cookie, _)| *cookie)
    }
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
