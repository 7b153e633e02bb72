//! Limits of bandwidth in the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use cni_plugin::wiring::{
    bucket::Bucket,
    inspect, name,
    netlink::Netlink,
    qdisc::{self, Root},
    queue, veth,
};

use super::Side;

/// Puts the limits of interfaces in force, or takes them away; per interface whether something had to be done. What limits
/// the pod's own packets is only put.
pub(in crate::pod) fn limit(sides: &[Side]) -> io::Result<Vec<io::Result<bool>>> {
    let mut netlink = Netlink::open()?;
    let roots = qdisc::roots(&mut netlink)?;
    let limit = |side| limit_one(&mut netlink, side, &roots);
    Ok(sides.iter().map(limit).collect())
}

fn limit_one(netlink: &mut Netlink, side: &Side, roots: &BTreeMap<u32, Root>) -> io::Result<bool> {
    let is_limited = side.limits.ingress.is_some() || side.limits.egress.is_some();
    if !is_limited && !roots.contains_key(&side.index) {
        return Ok(false);
    }
    let link = inspect::link(netlink, &side.name)?;
    let Some(link) = link.filter(|link| link.index == side.index) else {
        return Ok(false); // It has gone meanwhile.
    };
    let at = queue::Side {
        key: &side.key,
        index: side.index,
        mtu: link.mtu,
    };
    let bucket = |limit| Bucket::new(limit, link.mtu);
    let present = roots.get(&side.index).copied();
    let ingress = side.limits.ingress.map(bucket);
    let mut changed = queue::limit_ingress(netlink, at, ingress, present)?;
    if let Some(limit) = side.limits.egress {
        let present = roots.get(&queue::entry(side.index)).copied();
        changed |= queue::limit_egress(netlink, at, bucket(limit), present)?;
    }
    Ok(changed)
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
