//! The way to each of another node's ranges: directly, by the network, through the tunnel, or encrypted.

use std::net::{IpAddr, SocketAddr};

use cni_plugin::wiring::route::Way;
use ipnetwork::IpNetwork;

use super::{
    Desired,
    mtu::{MTU, around},
};
use crate::{
    config::{Configuration, Routing},
    model::Node,
    node::{
        encryption::{self, Cipher, Keys},
        facts::Facts,
        reach::Reached,
        ways,
    },
};

/// A way to a node, and the MTU of it.
type Found = (Way, u32);

/// By what ways are chosen.
pub(super) struct Ways<'a> {
    pub(super) config: &'a Configuration,
    pub(super) here: Option<&'a Node>,
    pub(super) facts: &'a Facts,
    pub(super) reach: &'a mut dyn FnMut(IpAddr) -> Reached,
    pub(super) keys: Keys,
}

/// How a range of pods is reached.
enum Chosen {
    Direct { way: Way, mtu: u32 },
    Network,
    Tunnel { end: IpAddr, mtu: u32 },
}

impl Desired {
    /// Leads to the pods of a node as encryption says; the MTUs of the ways.
    pub(super) fn route(&mut self, node: &Node, ways: &mut Ways<'_>) -> Vec<u32> {
        let why = match ways.keys.cipher(node) {
            Cipher::Plain => return self.route_plainly(node, ways),
            Cipher::Closed(why) => why,
            Cipher::Key(key) => {
                let end = self.encrypted_end(node, ways);
                match end {
                    Ok((end, mtu, room)) => {
                        let at = SocketAddr::new(end, ways.config.encryption.port);
                        self.encrypted.add(node, key, at);
                        self.encrypted.narrow(mtu);
                        self.tunnel.add_encrypted(node, end, room);
                        for range in &node.pod_cidrs {
                            let way = format!("encrypted to {end}{}", in_words(room));
                            self.ways.insert((node.name.clone(), *range), way);
                        }
                        return vec![mtu];
                    }
                    Err(why) => why,
                }
            }
        };
        self.encrypted.close(node);
        let why = format!("closed, for encryption: {why}");
        self.unreachable.insert(node.name.clone(), why);
        Vec::new()
    }

    /// Where a node takes encrypted packets, for what length there is room, and for what length as routers have told, if they have;
    /// else 0.
    fn encrypted_end(
        &self,
        node: &Node,
        ways: &mut Ways<'_>,
    ) -> Result<(IpAddr, u32, u32), String> {
        let end = ways::end(ways.config.encryption.underlay, &self.internal, node);
        let end =
            end.ok_or("there is no family of which both nodes have an InternalIP for encryption")?;
        let reached = (ways.reach)(end);
        let mtu = reached
            .mtu(ways.facts)
            .ok_or_else(|| format!("its address {end} {reached}"))?;
        let around = encryption::around(end);
        let room = learned(&reached, around);
        Ok((end, mtu.saturating_sub(around), room))
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
            let tunnelled = by.iter().any(|(_, by)| *by);
            let room = if tunnelled {
                learned(&(ways.reach)(end), around(end))
            } else {
                0
            };
            self.tunnel.add(node, end, &by, room);
            for (range, _) in by.iter().filter(|(_, by)| *by && room != 0) {
                if let Some(words) = self.ways.get_mut(&(node.name.clone(), *range)) {
                    words.push_str(&in_words(room));
                }
            }
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
            ..Way::default()
        };
        let mtu = mtu.or_else(|| link.map(|link| link.mtu)).unwrap_or(MTU);
        Ok((way, mtu))
    }
}

/// The length of a packet for which a way has room as routers have told, less what is put around it; 0 if nobody has.
fn learned(reached: &Reached, around: u32) -> u32 {
    let told = reached.learned();
    told.map_or(0, |mtu| {
        mtu.saturating_sub(around).clamp(1, u16::MAX.into())
    })
}

fn in_words(room: u32) -> String {
    if room == 0 {
        return String::new();
    }
    format!(", with room for {room} bytes as routers say")
}
