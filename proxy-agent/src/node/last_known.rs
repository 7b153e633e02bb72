//! Last known good state: what this node is, where its Node object is silent about it: as it was, for as long as the machine has what is
//! named. What was comes from the pinned maps and `node.json`, and so outlives the agent too.

use std::{borrow::Cow, net::IpAddr};

use anyhow::Context as _;
use cni_plugin::{
    node_file::{NodeFile, boot_id},
    paths::Paths,
};
use proxy_common::address::{octets4, octets6};

use super::{claims::Claims, facts::Facts, maps::NodeMaps};
use crate::{
    config::{Configuration, Ipam},
    model::{Kind, Node, Snapshot},
};

/// The configuration, with the node's addresses and ranges filled in where neither it nor the object names any.
pub(super) fn fill_in<'a>(
    config: &'a Configuration,
    snapshot: &Snapshot,
    maps: &NodeMaps,
    claims: &Claims,
) -> anyhow::Result<Cow<'a, Configuration>> {
    let here = snapshot.nodes.get(config.node_name.as_str());
    let here = here.map(AsRef::as_ref);
    let mut config = Cow::Borrowed(config);
    if config.node.addresses.is_empty() {
        let named = here.map_or_else(Vec::new, |node| node.internal_ips.clone());
        let lost = lost_addresses(&named, &in_force(maps))?;
        if !lost.is_empty() {
            config.to_mut().node.addresses = named.into_iter().chain(lost).collect();
        }
    }
    let known = match config.ipam {
        Ipam::Node => here.map_or_else(Vec::new, |node| node.spec_pod_cidrs.clone()),
        Ipam::Cluster => claims.ranges().unwrap_or_default(),
    };
    if !known.is_empty() && config.node.pod_cidrs.is_empty() {
        config.to_mut().node.pod_cidrs = known;
    }
    if config.node.pod_cidrs.is_empty() {
        // Without a file nothing was known.
        if let Some(former) = node_file(&config)? {
            config.to_mut().node.pod_cidrs = former.pod_cidrs;
        }
    }
    Ok(config)
}

/// What the plugin was told last, by this node, in this boot; none if nothing was.
pub(super) fn node_file(config: &Configuration) -> anyhow::Result<Option<NodeFile>> {
    let Ok(file) = NodeFile::read(&Paths::new(&config.run_dir).node()) else {
        return Ok(None);
    };
    let boot = boot_id().context("read boot_id")?;
    let is_ours = file.node == config.node_name && file.boot_id == boot;
    Ok(is_ours.then_some(file))
}

/// By which Node's claim this node has its ranges; as before while nobody has confirmed it.
pub(super) fn claimed_by(config: &Configuration, claims: &Claims) -> anyhow::Result<String> {
    if config.ipam == Ipam::Node {
        return Ok(String::new());
    }
    Ok(match claims.claimed_by() {
        Some(uid) => uid,
        None => node_file(config)?.map_or_else(String::new, |file| file.claimed_by),
    })
}

/// The node's addresses that translation uses now.
fn in_force(maps: &NodeMaps) -> Vec<IpAddr> {
    let Some(value) = maps.config() else {
        return Vec::new();
    };
    let both = [
        IpAddr::from(octets4(value.address4)),
        IpAddr::from(octets6(value.address6)),
    ];
    both.into_iter().filter(|ip| !ip.is_unspecified()).collect()
}

/// Those of families of which none is named, if the machine still has them.
fn lost_addresses(named: &[IpAddr], in_force: &[IpAddr]) -> anyhow::Result<Vec<IpAddr>> {
    let is_lost = |ip: &&IpAddr| !named.iter().any(|known| known.is_ipv4() == ip.is_ipv4());
    let lost: Vec<IpAddr> = in_force.iter().filter(is_lost).copied().collect();
    if lost.is_empty() {
        return Ok(lost);
    }
    let facts = Facts::read().context("read the machine's interfaces")?;
    let has = |ip: &IpAddr| facts.addresses().any(|here| here == *ip);
    Ok(lost.into_iter().filter(has).collect())
}

/// Whether all ways to the other nodes' pods can be told: none is gone that only cannot be told now.
pub(super) fn knows_ways(config: &Configuration, snapshot: &Snapshot) -> bool {
    let peers = snapshot.nodes.values();
    let mut peers = peers.filter(|node| node.name != config.node_name);
    snapshot.complete.has(&[Kind::Node]) && peers.all(|node| has_ways(node))
}

fn has_ways(node: &Node) -> bool {
    let has = |ipv4| node.internal_ips.iter().any(|ip| ip.is_ipv4() == ipv4);
    node.pod_cidrs.iter().all(|range| has(range.is_ipv4()))
}
