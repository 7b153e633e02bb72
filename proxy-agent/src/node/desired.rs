//! What the node should have, as a value.

use std::{collections::BTreeMap, net::IpAddr};

use cni_plugin::{node_file::NodeFile, wiring::route::Way};
use ipnetwork::IpNetwork;

use super::{
    addresses::Addresses,
    facts::{Facts, Interface},
    links::{Links, Sources},
    masquerade::Masquerade,
    reach::Reached,
    routes::Routes,
};
use crate::{
    api::listen::ListenOn,
    config::Configuration,
    model::{Node, Snapshot},
};

/// MTU of pods where nothing says otherwise.
const MTU: u32 = 1500;

/// What the node should have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// The node's internal addresses, at most one of a family is used.
    pub internal: Vec<IpAddr>,
    /// The links that carry node traffic.
    pub links: Links,
    /// What the way to other nodes carries.
    pub mtu: u32,
    /// `node.json`; none while the node's ranges are not known.
    pub file: Option<NodeFile>,
    /// Routes to other nodes' pods.
    pub routes: Routes,
    /// Nodes whose pods cannot be reached by a direct route, and why.
    pub unreachable: BTreeMap<String, String>,
    /// The node's addresses.
    pub addresses: Addresses,
    /// Where health check node ports are served.
    pub health_checks: ListenOn,
    /// Ranges of the node's own pods.
    pub pods: Vec<IpNetwork>,
    /// In whose name pods speak; as long as nobody has said what is inside, as before.
    pub masquerade: Option<Masquerade>,
}

/// A way to a node, and the MTU of it.
type Found = (Way, u32);

impl Desired {
    /// The MTU of `weir_host`: what fits there fits the way out and pods.
    pub fn host_device_mtu(&self, config: &Configuration) -> u32 {
        match config.cni.mtu {
            0 => self.mtu,
            pods => self.mtu.min(pods),
        }
    }

    /// From everything that is known; `reach` asks the kernel how an address is reached.
    pub fn of(
        config: &Configuration,
        boot_id: &str,
        snapshot: &Snapshot,
        facts: &Facts,
        reach: &mut dyn FnMut(IpAddr) -> Reached,
    ) -> Self {
        let nodes = &snapshot.nodes;
        let here = nodes.get(config.node_name.as_str()).map(AsRef::as_ref);
        let internal = internal(config, here);
        let sources = |link: &Interface| Sources::of(link, &internal, facts);
        let addresses = Addresses::of(&config.node, &internal, facts);
        let mut desired = Self {
            links: Links::of(&config.node.links, facts, sources),
            health_checks: ListenOn::of(&config.node, &addresses, facts),
            addresses,
            internal,
            mtu: MTU,
            pods: pods(config, here),
            ..Self::default()
        };
        let others = nodes
            .values()
            .filter(|node| *node.name != *config.node_name);
        let mtus: Vec<u32> = others
            .flat_map(|node| desired.route(node, facts, reach))
            .collect();
        let outward = desired.outward(facts).map(|link| link.mtu);
        desired.mtu = mtus.into_iter().min().or(outward).unwrap_or(MTU);
        desired.file = file(config, boot_id, &desired, facts);
        desired
    }

    /// Leads to the pods of a node; the MTUs of the ways.
    fn route(
        &mut self,
        node: &Node,
        facts: &Facts,
        reach: &mut dyn FnMut(IpAddr) -> Reached,
    ) -> Vec<u32> {
        let mut mtus = Vec::new();
        for range in &node.pod_cidrs {
            match self.way(node, *range, facts, reach) {
                Ok((way, mtu)) => {
                    mtus.push(mtu);
                    self.routes.insert(*range, way);
                }
                Err(why) => drop(self.unreachable.insert(node.name.clone(), why)),
            }
        }
        mtus
    }

    /// By the first of the node's addresses of this family that is on a link of ours.
    fn way(
        &self,
        node: &Node,
        range: IpNetwork,
        facts: &Facts,
        reach: &mut dyn FnMut(IpAddr) -> Reached,
    ) -> Result<Found, String> {
        let gateways = node.internal_ips.iter().copied();
        let mut gateways = gateways
            .filter(|ip| ip.is_ipv4() == range.is_ipv4())
            .peekable();
        if gateways.peek().is_none() {
            return Err(format!("it has no InternalIP of the family of {range}"));
        }
        let mut why = Vec::new();
        for gateway in gateways {
            match self.through(gateway, facts, reach(gateway)) {
                Ok(found) => return Ok(found),
                Err(reason) => why.push(format!("its address {gateway} {reason}")),
            }
        }
        Err(why.join("; "))
    }

    fn through(&self, gateway: IpAddr, facts: &Facts, reached: Reached) -> Result<Found, String> {
        let (index, mtu) = match reached {
            Reached::OnLink { index, mtu } => (index, mtu),
            Reached::Through(router) => return Err(format!("is behind the router {router}")),
            Reached::Here => return Err("is this machine's".to_owned()),
            Reached::Not(why) => return Err(format!("is not reached: {why}")),
        };
        let link = facts.interface(index);
        if !self.links.chosen.contains_key(&index) {
            let name = link.map_or("an unknown link", |link| &link.name);
            return Err(format!(
                "is on {name}, which carries no node traffic (node.links)"
            ));
        }
        let way = Way {
            index,
            gateway: Some(gateway),
            source: None,
        };
        let mtu = mtu.or_else(|| link.map(|link| link.mtu)).unwrap_or(MTU);
        Ok((way, mtu))
    }

    /// The link by which the node is known, or by which a default route leads.
    fn outward<'a>(&self, facts: &'a Facts) -> Option<&'a Interface> {
        let chosen = |link: &&Interface| self.links.chosen.contains_key(&link.index);
        let mut known = self
            .internal
            .iter()
            .filter_map(|ip| facts.with_address(*ip));
        let defaults = facts.routing.defaults.iter();
        let mut defaults = defaults.filter_map(|route| facts.interface(route.index));
        known.find(chosen).or_else(|| defaults.find(chosen))
    }
}

/// The configured ones, else the Node's.
fn internal(config: &Configuration, here: Option<&Node>) -> Vec<IpAddr> {
    if !config.node.addresses.is_empty() {
        return config.node.addresses.clone();
    }
    here.map_or_else(Vec::new, |node| node.internal_ips.clone())
}

/// The configured ones, else the Node's.
fn pods(config: &Configuration, here: Option<&Node>) -> Vec<IpNetwork> {
    if !config.node.pod_cidrs.is_empty() {
        return config.node.pod_cidrs.clone();
    }
    here.map_or_else(Vec::new, |node| node.pod_cidrs.clone())
}

fn file(
    config: &Configuration,
    boot_id: &str,
    desired: &Desired,
    facts: &Facts,
) -> Option<NodeFile> {
    let pod_cidrs = desired.pods.clone();
    if pod_cidrs.is_empty() {
        return None;
    }
    let reserved = facts
        .addresses()
        .filter(|ip| pod_cidrs.iter().any(|range| range.contains(*ip)))
        .collect();
    Some(NodeFile {
        boot_id: boot_id.to_owned(),
        node: config.node_name.clone(),
        pod_cidrs,
        reserved,
        mtu: if config.cni.mtu == 0 {
            desired.mtu
        } else {
            config.cni.mtu
        },
        agent_pid: std::process::id(),
    })
}

#[cfg(test)]
mod tests;
