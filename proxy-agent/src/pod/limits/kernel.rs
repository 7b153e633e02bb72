//! Limits of bandwidth in the kernel: by times of departure where it has a queue that keeps to these, else by token buckets.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use cni_plugin::wiring::{
    bucket::{Bucket, Limit},
    inspect, name,
    netlink::Netlink,
    qdisc::{self, Discipline, Root},
    queue, veth,
};
use proxy_common::pace::Pace;

use super::{Done, Side, Way};
use crate::datapath::Table;

/// The kernel has no queue that keeps to times of departure (`CONFIG_NET_SCH_FQ`): found by trying, once, for each attempt would
/// have it look for a module.
static WITHOUT_DEPARTURES: AtomicBool = AtomicBool::new(false);

/// Puts the limits of interfaces in force, or takes them away; per interface what came of it. What limits the pod's own packets
/// is only put.
pub(in crate::pod) fn limit(
    sides: &[Side],
    paces: &mut dyn Table<u32, Pace>,
) -> io::Result<Vec<io::Result<Done>>> {
    let mut netlink = Netlink::open()?;
    let mut kernel = Kernel {
        roots: qdisc::roots(&mut netlink)?,
        known: paces
            .entries()
            .map_err(io::Error::other)?
            .into_iter()
            .collect(),
        netlink,
        paces,
    };
    Ok(sides.iter().map(|side| kernel.limit_one(side)).collect())
}

/// The kernel, and what there is in it.
struct Kernel<'a> {
    netlink: Netlink,
    roots: BTreeMap<u32, Root>,
    /// What `PACES` holds.
    known: BTreeMap<u32, Pace>,
    paces: &'a mut dyn Table<u32, Pace>,
}

impl Kernel<'_> {
    fn limit_one(&mut self, side: &Side) -> io::Result<Done> {
        let mut done = Done::default();
        let entry = queue::entry(side.index);
        let is_limited = side.limits.ingress.is_some() || side.limits.egress.is_some();
        let has_limits = self.roots.contains_key(&side.index)
            || [side.index, entry]
                .iter()
                .any(|at| self.known.contains_key(at));
        if !is_limited && !has_limits {
            return Ok(done);
        }
        let link = inspect::link(&mut self.netlink, &side.name)?;
        let Some(link) = link.filter(|link| link.index == side.index) else {
            return Ok(done); // It has gone meanwhile.
        };
        // One that somebody changed is given back, and the pair need not be made anew for it.
        let mtu = Some(side.mtu).filter(|mtu| *mtu > 0).unwrap_or(link.mtu);
        if let Some(limit) = side.limits.ingress {
            let way = self.put(side.index, limit, mtu, &mut done.changed)?;
            done.ways.ingress = Some(way);
        } else {
            let present = self.roots.get(&side.index).copied();
            done.changed |= queue::lift(&mut self.netlink, side.index, present)?;
            self.forget(side.index)?;
        }
        let Some(limit) = side.limits.egress else {
            self.forget(entry)?;
            return Ok(done);
        };
        let at = queue::Side {
            key: &side.key,
            index: side.index,
            mtu,
        };
        if queue::ensure(&mut self.netlink, at)? {
            done.changed = true;
            self.roots.remove(&entry);
        }
        done.ways.egress = Some(self.put(entry, limit, mtu, &mut done.changed)?);
        Ok(done)
    }

    /// Limits what leaves by an interface, in the best way that there is.
    fn put(&mut self, index: u32, limit: Limit, mtu: u32, changed: &mut bool) -> io::Result<Way> {
        let bucket = Bucket::new(limit, mtu);
        let present = self.roots.get(&index).copied();
        if !WITHOUT_DEPARTURES.load(Ordering::Relaxed) {
            match queue::limit(&mut self.netlink, index, Discipline::Departures, present) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                    WITHOUT_DEPARTURES.store(true, Ordering::Relaxed);
                }
                put => {
                    *changed |= put?;
                    *changed |= self.pace(index, bucket)?;
                    return Ok(Way::Edt);
                }
            }
        }
        *changed |= queue::limit(
            &mut self.netlink,
            index,
            Discipline::Bucket(bucket),
            present,
        )?;
        self.forget(index)?;
        Ok(Way::Bucket)
    }

    /// Tells the programs. What they have written meanwhile is no difference, and a new limit begins with a full bucket.
    fn pace(&mut self, index: u32, bucket: Bucket) -> io::Result<bool> {
        let wanted = pace(bucket);
        let same = |known: &Pace| {
            Pace {
                full_at: 0,
                ..*known
            } == wanted
        };
        if self.known.get(&index).is_some_and(same) {
            return Ok(false);
        }
        self.paces.set(&index, &wanted).map_err(io::Error::other)?;
        Ok(true)
    }

    fn forget(&mut self, index: u32) -> io::Result<()> {
        if self.known.contains_key(&index) {
            self.paces.remove(&index).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// A full bucket, as the programs have it.
fn pace(bucket: Bucket) -> Pace {
    Pace {
        full_at: 0,
        rate: bucket.rate(),
        burst: bucket.lasts(),
        patience: bucket.patience(),
    }
}

/// Forgets what programs know of limits, but for these interfaces.
pub(in crate::pod) fn keep_paces(
    paces: &mut dyn Table<u32, Pace>,
    keep: impl Fn(u32) -> bool,
) -> io::Result<()> {
    for (index, _) in paces.entries().map_err(io::Error::other)? {
        if !keep(index) {
            paces.remove(&index).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// Removes queues but those with these names.
pub(in crate::pod) fn remove_queues(keep: &BTreeSet<String>) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    for link in inspect::links(&mut netlink)? {
        if name::is_queue_ifname(&link.name) && !keep.contains(&link.name) {
            tracing::info!(interface = link.name, "queue without a pod removed");
            veth::remove_index(&mut netlink, link.index)?;
        }
    }
    Ok(())
}

/// Removes the limits of all pods.
pub fn clear() -> io::Result<()> {
    remove_queues(&BTreeSet::new())?;
    let mut netlink = Netlink::open()?;
    for (index, root) in qdisc::roots(&mut netlink)? {
        if root != Root::Foreign {
            qdisc::remove(&mut netlink, index)?;
        }
    }
    Ok(())
}
