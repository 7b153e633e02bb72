//! What the node should have, as a value.

mod file;
mod mtu;
mod way;

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use cni_plugin::{node_file::NodeFile, wiring::route::Way};
use ipnetwork::IpNetwork;
use proxy_common::tunnel::{ENCRYPTION_ROOM4, ENCRYPTION_ROOM6};

use self::{
    mtu::{MTU, route_mtus},
    way::Ways,
};
use super::{
    addresses::Addresses,
    encryption::{Encrypted, Keys, Ready},
    facts::{Facts, Interface},
    links::{Links, Sources, by_route::by_route},
    masquerade::Masquerade,
    reach::Reached,
    routes::Routes,
    tunnel::Tunnel,
};
use crate::{
    api::listen::ListenOn,
    config::{Configuration, Routing, encryption::cluster_ranges},
    model::{Node, Refused, Snapshot, overlap},
};

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
    /// The way to each node's pods, by node and range.
    pub ways: BTreeMap<(String, IpNetwork), String>,
    /// The tunnel to nodes that are not reached directly.
    pub tunnel: Tunnel,
    /// What is encrypted, and what may not go otherwise.
    pub encrypted: Encrypted,
    /// Nodes whose pods cannot be reached, and why.
    pub unreachable: BTreeMap<String, String>,
    /// The node's addresses.
    pub addresses: Addresses,
    /// Where health check node ports are served.
    pub health_checks: ListenOn,
    /// MTUs of destinations, by the longest; 0 is that of the link: `ROUTE_MTUS*`.
    pub route_mtus: BTreeMap<IpNetwork, u32>,
    /// Ranges of the node's own pods.
    pub pods: Vec<IpNetwork>,
    /// In whose name pods speak; as long as nobody has said what is inside, as before.
    pub masquerade: Option<Masquerade>,
}

impl Desired {
    /// From everything that is known; `reach` asks the kernel how an address is reached, `ready` says whether the node can
    /// encrypt.
    pub fn of(
        config: &Configuration,
        boot_id: &str,
        snapshot: &Snapshot,
        facts: &Facts,
        reach: &mut dyn FnMut(IpAddr) -> Reached,
        ready: Ready,
    ) -> Self {
        let strict = config.encryption.is_strict();
        let nodes = &snapshot.nodes;
        let here = nodes.get(config.node_name.as_str()).map(AsRef::as_ref);
        let internal = internal(config, here);
        let sources = |link: &Interface| Sources::of(link, &internal, facts);
        let addresses = Addresses::of(&config.node, &internal, facts);
        let mut links = Links::of(&config.node.links, facts, sources);
        links.by_route = by_route(&links.chosen, &internal, facts);
        let mut desired = Self {
            links,
            health_checks: ListenOn::of(&config.node, &addresses, facts),
            addresses,
            internal,
            route_mtus: route_mtus(&facts.routing.mtus),
            mtu: MTU,
            pods: config.node.pod_cidrs.clone(),
            ..Self::default()
        };
        let others = nodes
            .values()
            .filter(|node| *node.name != *config.node_name);
        let others: Vec<_> = others
            .map(|node| desired.without_own(node, &config.node_name))
            .collect();
        let mut ways = Ways {
            config,
            here,
            facts,
            reach,
            keys: Keys::of(snapshot, &config.node_name, ready, strict),
        };
        let mtus: Vec<u32> = others
            .iter()
            .flat_map(|node| desired.route(node, &mut ways))
            .collect();
        let outward = desired.outward(facts).map_or(MTU, |link| link.mtu);
        desired.mtu = mtus
            .into_iter()
            .min()
            .unwrap_or_else(|| desired.alone(config, outward));
        let asked = config.load_balancer.mode.relays() || snapshot.relayed > 0;
        desired.tunnel.relays = asked && !config.encryption.is_on();
        desired.tunnel.wanted =
            desired.tunnel.is_used() || desired.tunnel.relays || keeps_tunnel(config, here);
        // Who is alone is sent nothing.
        desired.tunnel.takes = !config.encryption.is_on() && !others.is_empty();
        desired.tunnel.mtu = match desired.tunnel.mtu {
            0 => outward.saturating_sub(desired.around_tunnel(config)),
            mtu => mtu,
        };
        desired.encrypt(config, outward, ready);
        desired.file = file::file(config, boot_id, &desired, facts);
        desired
    }

    /// Leads into the tunnel and the device that encrypts what the host's stack sends to pods behind them, from the node's own
    /// address.
    pub fn lead_into(&mut self, tunnel: Option<u32>, encryption: Option<u32>, facts: &Facts) {
        self.tunnel.encryption = [encryption.unwrap_or(0), self.encrypted.mtu];
        let both = [
            (tunnel, &self.tunnel.ranges, self.tunnel.mtu),
            (encryption, &self.encrypted.ranges, self.encrypted.mtu),
        ];
        for (device, ranges, mtu) in both {
            let Some(index) = device else { continue };
            for range in ranges {
                let has = |ip: &&IpAddr| {
                    ip.is_ipv4() == range.is_ipv4() && facts.with_address(**ip).is_some()
                };
                let peer = self.tunnel.peers.get(range);
                let room = peer.map_or(mtu, |peer| peer.room(*range, mtu));
                let way = Way {
                    index,
                    gateway: None,
                    source: self.internal.iter().find(has).copied(),
                    mtu: Some(room).filter(|room| *room < mtu),
                };
                self.routes.insert(*range, way);
            }
        }
    }

    /// Another node as it is to be reached: whatever its Node says, what this node has is this node's.
    fn without_own<'a>(&self, node: &'a Node, here: &str) -> Cow<'a, Node> {
        let is_own = |range: &IpNetwork| self.pods.iter().any(|own| overlap(*own, *range));
        let addresses = node.internal_ips.iter();
        let own = addresses.filter(|ip| node.holds(**ip) && self.internal.contains(ip));
        let own: Vec<IpAddr> = own.copied().collect();
        let mut node = Cow::Borrowed(node);
        if node.pod_cidrs.iter().any(is_own) {
            node.to_mut().pod_cidrs.retain(|range| !is_own(range));
        }
        for ip in own {
            node.to_mut().refused.push(Refused {
                what: ip.into(),
                pods: false,
                by: here.into(),
            });
        }
        node
    }

    /// What encryption takes from every way, and what it closes.
    fn encrypt(&mut self, config: &Configuration, outward: u32, ready: Ready) {
        if matches!(ready, Ready::Able(_)) {
            let alone = self.around(
                config.encryption.underlay,
                [ENCRYPTION_ROOM4, ENCRYPTION_ROOM6],
            );
            self.encrypted.narrow(outward.saturating_sub(alone));
            self.mtu = self.mtu.min(self.encrypted.mtu);
        }
        if config.encryption.is_strict() {
            self.encrypted.closed.extend(cluster_ranges(config));
        }
        let taken = |range: &IpNetwork| self.tunnel.peers.contains_key(range);
        let closed: Vec<_> = self.encrypted.closed.iter().copied().collect();
        for range in closed.iter().filter(|range| !self.pods.contains(range)) {
            self.routes.insert(*range, Way::NOWHERE);
        }
        let closed: Vec<_> = closed.into_iter().filter(|range| !taken(range)).collect();
        self.tunnel.close(closed);
        self.tunnel.close_nodes(&self.encrypted.closed_nodes);
    }
}

/// The configured ones, else the Node's.
fn internal(config: &Configuration, here: Option<&Node>) -> Vec<IpAddr> {
    if !config.node.addresses.is_empty() {
        return config.node.addresses.clone();
    }
    here.map_or_else(Vec::new, |node| node.internal_ips.clone())
}

/// Whether there is a tunnel before anything goes by it: nodes may come that need it.
fn keeps_tunnel(config: &Configuration, here: Option<&Node>) -> bool {
    let told = here.and_then(|node| node.routing.as_deref()?.parse().ok());
    let routing = told.unwrap_or(config.routing);
    matches!(routing, Routing::Tunnel | Routing::Hybrid)
}

#[cfg(test)]
mod tests;
