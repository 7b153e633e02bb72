//! What the node should have, as a value.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use cni_plugin::{
    node_file::NodeFile,
    wiring::{route::Way, sizes::Sizes},
};
use ipnetwork::IpNetwork;
use proxy_common::tunnel::{
    ENCRYPTION_DEVICE, ENCRYPTION_ROOM4, ENCRYPTION_ROOM6, TUNNEL_DEVICE, TUNNEL_ROOM4,
    TUNNEL_ROOM6,
};

use super::{
    addresses::Addresses,
    encryption::{self, Cipher, Encrypted, Keys, Ready},
    facts::{Facts, Interface},
    links::{Links, Sources},
    masquerade::Masquerade,
    reach::Reached,
    routes::Routes,
    tunnel::Tunnel,
    ways,
};
use crate::{
    api::listen::ListenOn,
    config::{Configuration, Routing, Underlay, encryption::cluster_ranges},
    model::{Node, Refused, Snapshot, overlap},
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
    /// Ranges of the node's own pods.
    pub pods: Vec<IpNetwork>,
    /// In whose name pods speak; as long as nobody has said what is inside, as before.
    pub masquerade: Option<Masquerade>,
}

/// A way to a node, and the MTU of it.
type Found = (Way, u32);

/// By what ways are chosen.
struct Ways<'a> {
    config: &'a Configuration,
    here: Option<&'a Node>,
    facts: &'a Facts,
    reach: &'a mut dyn FnMut(IpAddr) -> Reached,
    keys: Keys,
}

/// How a range of pods is reached.
enum Chosen {
    Direct { way: Way, mtu: u32 },
    Network,
    Tunnel { end: IpAddr, mtu: u32 },
}

impl Desired {
    /// The MTU of `weir_host`: what fits there fits the way out and pods.
    pub fn host_device_mtu(&self, config: &Configuration) -> u32 {
        match config.cni.mtu {
            0 => self.mtu,
            pods => self.mtu.min(pods),
        }
    }

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
        let mut desired = Self {
            links: Links::of(&config.node.links, facts, sources),
            health_checks: ListenOn::of(&config.node, &addresses, facts),
            addresses,
            internal,
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
        desired.tunnel.takes = !config.encryption.is_on();
        desired.tunnel.mtu = match desired.tunnel.mtu {
            0 => outward.saturating_sub(desired.around_tunnel(config)),
            mtu => mtu,
        };
        desired.encrypt(config, outward, ready);
        desired.file = file(config, boot_id, &desired, facts);
        desired
    }

    /// Leads into the tunnel and the device that encrypts what the host's stack sends to pods behind them, from the node's own
    /// address.
    pub fn lead_into(&mut self, tunnel: Option<u32>, encryption: Option<u32>, facts: &Facts) {
        self.tunnel.encryption = [encryption.unwrap_or(0), self.encrypted.mtu];
        let both = [
            (tunnel, &self.tunnel.ranges),
            (encryption, &self.encrypted.ranges),
        ];
        for (device, ranges) in both {
            let Some(index) = device else { continue };
            for range in ranges {
                let has = |ip: &&IpAddr| {
                    ip.is_ipv4() == range.is_ipv4() && facts.with_address(**ip).is_some()
                };
                let way = Way {
                    index,
                    gateway: None,
                    source: self.internal.iter().find(has).copied(),
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
    }

    /// Leads to the pods of a node as encryption says; the MTUs of the ways.
    fn route(&mut self, node: &Node, ways: &mut Ways<'_>) -> Vec<u32> {
        let why = match ways.keys.cipher(node) {
            Cipher::Plain => return self.route_plainly(node, ways),
            Cipher::Closed(why) => why,
            Cipher::Key(key) => {
                let end = self.encrypted_end(node, ways);
                match end {
                    Ok((end, mtu)) => {
                        let at = SocketAddr::new(end, ways.config.encryption.port);
                        self.encrypted.add(node, key, at);
                        self.encrypted.narrow(mtu);
                        self.tunnel.add_encrypted(node, end);
                        for range in &node.pod_cidrs {
                            let way = format!("encrypted to {end}");
                            self.ways.insert((node.name.clone(), *range), way);
                        }
                        return vec![mtu];
                    }
                    Err(why) => why,
                }
            }
        };
        self.encrypted.closed.extend(&node.pod_cidrs);
        let why = format!("closed, for encryption: {why}");
        self.unreachable.insert(node.name.clone(), why);
        Vec::new()
    }

    /// Where a node takes encrypted packets, and for what length there is room.
    fn encrypted_end(&self, node: &Node, ways: &mut Ways<'_>) -> Result<(IpAddr, u32), String> {
        let end = ways::end(ways.config.encryption.underlay, &self.internal, node);
        let end =
            end.ok_or("there is no family of which both nodes have an InternalIP for encryption")?;
        let reached = (ways.reach)(end);
        let mtu = reached
            .mtu(ways.facts)
            .ok_or_else(|| format!("its address {end} {reached}"))?;
        Ok((end, mtu.saturating_sub(encryption::around(end))))
    }

    /// Leads to the pods of a node without encryption; the MTUs of the ways.
    fn route_plainly(&mut self, node: &Node, ways: &mut Ways<'_>) -> Vec<u32> {
        let end = ways::end(ways.config.tunnel.underlay, &self.internal, node);
        let (mut mtus, mut by) = (Vec::new(), Vec::new());
        for range in &node.pod_cidrs {
            match self.choose(node, *range, end, ways) {
                Ok(chosen) => {
                    by.push((*range, matches!(chosen, Chosen::Tunnel { .. })));
                    mtus.extend(self.take(node, *range, &chosen));
                }
                Err(why) => drop(self.unreachable.insert(node.name.clone(), why)),
            }
        }
        if let Some(end) = end.filter(|_| !by.is_empty()) {
            self.tunnel.add(node, end, &by);
        }
        mtus
    }

    /// The way to a range of a node's pods, or why there is none.
    fn choose(
        &self,
        node: &Node,
        range: IpNetwork,
        end: Option<IpAddr>,
        ways: &mut Ways<'_>,
    ) -> Result<Chosen, String> {
        let routing = ways::routing(ways.config, ways.here, node);
        let mut why = String::new();
        if routing != Routing::Tunnel {
            match self.way(node, range, ways.facts, ways.reach) {
                Ok((way, mtu)) => return Ok(Chosen::Direct { way, mtu }),
                Err(reason) => why = reason,
            }
        }
        let by_network = matches!(routing, Routing::Auto | Routing::Direct);
        if by_network && ways::is_routed(ways.config, range) {
            return Ok(Chosen::Network);
        }
        if routing == Routing::Direct {
            return Err(why);
        }
        let end =
            end.ok_or("there is no family of which both nodes have an InternalIP for the tunnel")?;
        let reached = (ways.reach)(end);
        let mtu = reached
            .mtu(ways.facts)
            .ok_or_else(|| format!("the end of its tunnel, {end}, {reached}"))?;
        Ok(Chosen::Tunnel {
            end,
            mtu: mtu.saturating_sub(around(end)),
        })
    }

    /// Notes a way; its MTU if that is known.
    fn take(&mut self, node: &Node, range: IpNetwork, chosen: &Chosen) -> Option<u32> {
        let (words, mtu) = match *chosen {
            Chosen::Direct { way, mtu } => {
                self.routes.insert(range, way);
                ("direct".to_owned(), Some(mtu))
            }
            Chosen::Network => ("by the network".to_owned(), None),
            Chosen::Tunnel { end, mtu } => {
                let least = Some(self.tunnel.mtu).filter(|mtu| *mtu > 0);
                self.tunnel.mtu = least.map_or(mtu, |least| least.min(mtu));
                (format!("tunnel to {end}"), Some(mtu))
            }
        };
        self.ways.insert((node.name.clone(), range), words);
        mtu
    }

    /// What the way to nodes will carry that are still to come.
    fn alone(&self, config: &Configuration, outward: u32) -> u32 {
        match config.routing {
            Routing::Auto | Routing::Direct => outward,
            Routing::Tunnel | Routing::Hybrid => outward.saturating_sub(self.around_tunnel(config)),
        }
    }

    /// What the tunnel puts around a packet, as far as the node alone can tell.
    fn around_tunnel(&self, config: &Configuration) -> u32 {
        self.around(config.tunnel.underlay, [TUNNEL_ROOM4, TUNNEL_ROOM6])
    }

    /// What is put around a packet over IPv4 or IPv6, as far as the node alone can tell.
    fn around(&self, underlay: Underlay, [room4, room6]: [u32; 2]) -> u32 {
        let over_ipv4 = match underlay {
            Underlay::Auto => self.internal.iter().any(IpAddr::is_ipv4),
            underlay => underlay == Underlay::Ipv4,
        };
        if over_ipv4 { room4 } else { room6 }
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
            Reached::Through { router, .. } => {
                return Err(format!("is behind the router {router}"));
            }
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

    /// How large packets of many segments may be in pods: what the links that carry them have been given.
    fn sizes(&self, config: &Configuration, facts: &Facts) -> Sizes {
        let named = |name: &str| {
            let link = facts.interfaces.iter().find(|link| link.name == name);
            link.map_or_else(Sizes::default, |link| link.sizes)
        };
        let mut sizes = self
            .outward(facts)
            .map_or_else(Sizes::default, |link| link.sizes);
        if self.tunnel.is_used() {
            sizes = sizes.within(named(TUNNEL_DEVICE));
        }
        if config.encryption.is_on() {
            sizes = sizes.within(named(ENCRYPTION_DEVICE));
        }
        sizes.raised()
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

/// Whether there is a tunnel before anything goes by it: nodes may come that need it.
fn keeps_tunnel(config: &Configuration, here: Option<&Node>) -> bool {
    let told = here.and_then(|node| node.routing.as_deref()?.parse().ok());
    let routing = told.unwrap_or(config.routing);
    matches!(routing, Routing::Tunnel | Routing::Hybrid)
}

/// What the tunnel to an end puts around a packet.
const fn around(end: IpAddr) -> u32 {
    if end.is_ipv4() {
        TUNNEL_ROOM4
    } else {
        TUNNEL_ROOM6
    }
}

/// The configured ones, else the Node's.
fn internal(config: &Configuration, here: Option<&Node>) -> Vec<IpAddr> {
    if !config.node.addresses.is_empty() {
        return config.node.addresses.clone();
    }
    here.map_or_else(Vec::new, |node| node.internal_ips.clone())
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
        closed: None,
        devices: Vec::new(),
        sizes: desired.sizes(config, facts),
        agent_pid: std::process::id(),
    })
}

#[cfg(test)]
mod tests;
