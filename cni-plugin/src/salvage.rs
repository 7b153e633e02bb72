//! Recovery: attachments whose record cannot be read, or is gone, while the interface is there: a pod that lives, whatever
//! became of our file (a later version's format after a downgrade, a hand that cleaned up).
//!
//! What the kernel has says all that forwarding and policy need: the name of the host side follows from the
//! key, its routes lead to the pod's addresses, its alias names the pod. Where all files are gone the keys are, too: a key
//! that stands in ([`name::stand_in`]) is the attachment's until the runtime names it ([`crate::claim`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::Path,
    path::PathBuf,
};

use crate::{
    attachment::{Attachment, Broken, State},
    paths::{Paths, key_of},
    rpc::{Add, Key},
    wiring::{
        HOST_MAC, alias, full_prefix,
        inspect::{self, Link},
        name,
        netlink::Netlink,
        route,
    },
};

/// Host sides of pods' interfaces, by name.
pub type Links = BTreeMap<String, Link>;

/// One that was told from the kernel.
#[derive(Clone, Debug)]
pub struct Salvaged {
    /// It, as if it had been recorded.
    pub attachment: Attachment,
    /// The file that should have told it.
    pub record: PathBuf,
    /// Why it does not.
    pub why: String,
}

impl std::fmt::Display for Salvaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let add = &self.attachment.add;
        write!(
            f,
            "read {}: {}; pod {} is kept, its interface {} is there",
            self.record.display(),
            self.why,
            add.pod,
            add.host_ifname
        )
    }
}

/// The host sides of pods' interfaces that there are.
pub fn links(netlink: &mut Netlink) -> io::Result<Links> {
    let links = inspect::links(netlink)?.into_iter();
    Ok(links
        .filter(|link| name::is_host_ifname(&link.name))
        .map(|link| (link.name.clone(), link))
        .collect())
}

/// Those of `keys` that have no good record, but an interface.
pub fn live(
    netlink: &mut Netlink,
    paths: &Paths,
    boot_id: &str,
    keys: &[Key],
    (records, broken): (&[Attachment], &Broken),
    links: &Links,
) -> io::Result<Vec<Salvaged>> {
    let mut salvaged = Vec::new();
    for key in keys {
        let Some(link) = links.get(&name::host_ifname(key)) else {
            continue;
        };
        if records.iter().any(|r| r.key() == key) {
            continue;
        }
        let record = paths.attachment(key);
        let why = broken.iter().find(|(path, _)| *path == record);
        salvaged.push(Salvaged {
            attachment: Attachment {
                state: State::Ready,
                boot_id: boot_id.to_owned(),
                add: add(netlink, &record, key, link)?,
                mtu: link.mtu,
                device: link.device.unwrap_or_default(),
                ..Attachment::default()
            },
            why: why.map_or_else(|| NO_FILE.to_owned(), |(_, error)| error.to_string()),
            record,
        });
    }
    Ok(salvaged)
}

/// Those of `links`, listed before `keys` were, that are a pod's and nobody's of `keys`: all that was written of them is gone. A
/// pod's is one that names it and to which addresses lead, or one to which a former agent has given `endpoints`, by index.
pub fn unnamed(
    netlink: &mut Netlink,
    paths: &Paths,
    boot_id: &str,
    keys: &[Key],
    links: &Links,
    endpoints: &dyn Fn(u32) -> Vec<IpAddr>,
) -> io::Result<Vec<Salvaged>> {
    let named: BTreeSet<String> = keys.iter().map(name::host_ifname).collect();
    let mut salvaged = Vec::new();
    for link in links.values().filter(|link| !named.contains(&link.name)) {
        // Its DEL may have been at work.
        let there = inspect::link(netlink, &link.name)?;
        if there.is_none_or(|there| there.index != link.index) {
            continue;
        }
        let key = name::stand_in(&link.name);
        let record = paths.attachment(&key);
        let mut add = add(netlink, &record, &key, link)?;
        let known = endpoints(link.index);
        if add.ips.is_empty() {
            add.ips.clone_from(&known);
        }
        if add.ips.is_empty() || link.alias.is_empty() && known.is_empty() {
            continue;
        }
        let mac = inspect::peer_mac(netlink, link.index)?;
        // Of the key, which is not known, it would follow.
        add.pod_mac = mac.unwrap_or(add.pod_mac);
        salvaged.push(Salvaged {
            attachment: Attachment {
                state: State::Ready,
                boot_id: boot_id.to_owned(),
                add,
                mtu: link.mtu,
                device: link.device.unwrap_or_default(),
                ..Attachment::default()
            },
            why: NO_FILE.to_owned(),
            record,
        });
    }
    Ok(salvaged)
}

/// Host sides of pods' interfaces that no record names, and no ADD at work.
pub fn unrecorded(paths: &Paths) -> io::Result<Vec<Link>> {
    let mut netlink = Netlink::open()?;
    // In this order: an ADD has its record before its interface.
    let links = links(&mut netlink)?;
    let (records, broken) = Attachment::read_all(&paths.attachments())?;
    let keys = records.iter().map(|record| record.key().clone());
    let keys = keys.chain(broken.iter().filter_map(|(path, _)| key_of(path)));
    let named: BTreeSet<String> = keys.map(|key| name::host_ifname(&key)).collect();
    let mut unrecorded = Vec::new();
    for (name, link) in links {
        // A DEL removes the interface first.
        if !named.contains(&name) && inspect::link(&mut netlink, &name)?.is_some() {
            unrecorded.push(link);
        }
    }
    Ok(unrecorded)
}

const NO_FILE: &str = "no such file";

/// What the file still says, if as much as that can be read; else what the kernel says.
fn add(netlink: &mut Netlink, record: &Path, key: &Key, link: &Link) -> io::Result<Add> {
    let told = fs::read(record)
        .ok()
        .and_then(|text| serde_json::from_slice::<Add>(&text).ok())
        .filter(|add| add.key == *key && add.host_ifindex == link.index && !add.ips.is_empty());
    if let Some(add) = told {
        return Ok(add);
    }
    Ok(Add {
        key: key.clone(),
        host_ifname: link.name.clone(),
        host_ifindex: link.index,
        host_mac: HOST_MAC,
        pod_mac: name::pod_mac(key),
        ips: addresses(netlink, link.index)?,
        // Unknown: policy has no pod to select by and denies.
        pod: alias::pod(&link.alias).unwrap_or_default(),
        ..Add::default()
    })
}

/// The pod's addresses: where the routes by its host side lead. Those of the link's own addresses are wider.
fn addresses(netlink: &mut Netlink, index: u32) -> io::Result<Vec<IpAddr>> {
    let mut ips = Vec::new();
    for ipv4 in [true, false] {
        let routes = route::routes(netlink, ipv4)?.into_iter();
        let to = routes.filter(|r| r.way.index == index).map(|r| r.to);
        ips.extend(
            to.filter(|to| to.prefix() == full_prefix(to.ip()))
                .map(|to| to.ip()),
        );
    }
    Ok(ips)
}

/// Addresses of attachments whose records cannot be read: they are in use.
pub fn leases(broken: &Broken) -> io::Result<Vec<(Key, Vec<IpAddr>)>> {
    let keys: Vec<Key> = broken.iter().filter_map(|(path, _)| key_of(path)).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut netlink = Netlink::open()?;
    let mut leases = Vec::new();
    for key in keys {
        if let Some(link) = inspect::link(&mut netlink, &name::host_ifname(&key))? {
            leases.push((key, addresses(&mut netlink, link.index)?));
        }
    }
    Ok(leases)
}
