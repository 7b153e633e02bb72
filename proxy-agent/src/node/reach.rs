//! Route lookup: how the kernel would reach other nodes: a question to its routing tables, never to prefixes of addresses.

mod learned;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::IpAddr,
    time::Instant,
};

use cni_plugin::wiring::{netlink::Netlink, route};
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType},
};

use self::learned::Learned;
use super::facts::Facts;

/// What the kernel says about an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It is on a link itself.
    OnLink {
        /// Index of the link.
        index: u32,
        /// MTU of the route, if it has one of its own.
        mtu: Option<u32>,
    },
    /// A router leads there.
    Through {
        /// The router.
        router: String,
        /// Index of the link.
        index: u32,
        /// MTU of the route, if it has one of its own.
        mtu: Option<u32>,
        /// For what length there is room, if a router has told that.
        learned: Option<u32>,
    },
    /// It is this machine's.
    Here,
    /// Nothing leads there, and why.
    Not(String),
}

/// As a sentence about the address goes on.
impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnLink { index, .. } => write!(f, "is on link {index}, which is not known"),
            Self::Through { router, index, .. } => write!(
                f,
                "is behind the router {router}, on link {index}, which is not known"
            ),
            Self::Here => f.write_str("is this node's own: two nodes have one InternalIP"),
            Self::Not(why) => write!(f, "is not reached: {why}"),
        }
    }
}

/// Asks the kernel, and remembers what it said until links or routes change. Of what is behind a router it is asked anew at each look:
/// what routers tell is no news to anybody.
#[derive(Debug, Default)]
pub struct Reach {
    known: BTreeMap<IpAddr, Reached>,
    /// Which of them were asked for since [`Self::renew`].
    fresh: BTreeSet<IpAddr>,
    learned: Learned,
    facts: Facts,
}

impl Reached {
    /// The MTU of the way there, if there is one.
    pub fn mtu(&self, facts: &Facts) -> Option<u32> {
        let (Self::OnLink { index, mtu } | Self::Through { index, mtu, .. }) = self else {
            return None;
        };
        mtu.or_else(|| facts.interface(*index).map(|link| link.mtu))
    }

    /// For what length there is room, if a router has told that.
    pub const fn learned(&self) -> Option<u32> {
        match self {
            Self::Through { learned, .. } => *learned,
            _ => None,
        }
    }
}

impl Reach {
    /// Forgets what may be otherwise by now. Routes of our own (`ours` by protocol) lead to pods, not to nodes.
    pub fn renew(&mut self, facts: &Facts, ours: &[u8]) {
        let mut facts = facts.clone();
        facts
            .routing
            .main
            .retain(|route| !ours.contains(&route.protocol));
        self.fresh.clear();
        if self.facts != facts {
            self.known.clear();
            self.learned.clear();
            self.facts = facts;
        }
    }

    /// How an address is reached.
    pub fn ask(&mut self, ip: IpAddr) -> Reached {
        match self.known.get(&ip) {
            Some(Reached::Through { .. }) if !self.fresh.contains(&ip) => {}
            Some(known) => return known.clone(),
            None => {}
        }
        let asked = Netlink::open().and_then(|mut netlink| ask(&mut netlink, ip));
        let mut reached = asked.unwrap_or_else(|e| Reached::Not(e.to_string()));
        if let Reached::Through { learned, .. } = &mut reached {
            *learned = self.learned.take(ip, *learned, Instant::now());
        }
        self.fresh.insert(ip);
        self.known.insert(ip, reached.clone());
        reached
    }
}

fn ask(netlink: &mut Netlink, ip: IpAddr) -> io::Result<Reached> {
    let mut request = route::request(ip.is_ipv4());
    request.header.destination_prefix_length = if ip.is_ipv4() { 32 } else { 128 };
    request
        .attributes
        .push(RouteAttribute::Destination(ip.into()));
    let answers = netlink.request(&RouteNetlinkMessage::GetRoute(request), 0)?;
    let reached = answers.iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(message) => Some(reached(message)),
        _ => None,
    });
    reached.ok_or_else(|| io::Error::other("the kernel names no route"))
}

fn reached(message: &RouteMessage) -> Reached {
    let (mut link, mut mtu, mut router, mut learned) = (0, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => link = *oif,
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => router = Some(ip.to_string()),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => router = Some(ip.to_string()),
            RouteAttribute::Via(via) => router = Some(format!("{via:?}")),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            // What an ICMP message said holds for a while, and for that address alone.
            RouteAttribute::CacheInfo(cache) => learned = cache.expires != 0,
            _ => {}
        }
    }
    let (mtu, learned) = if learned { (None, mtu) } else { (mtu, None) };
    match (message.header.kind, router) {
        (RouteType::Local, _) => Reached::Here,
        (RouteType::Unicast, Some(router)) => Reached::Through {
            router,
            index: link,
            mtu,
            learned,
        },
        (RouteType::Unicast, None) => Reached::OnLink { index: link, mtu },
        (kind, _) => Reached::Not(format!("its route is of type {kind:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_goes_on_as_a_sentence() {
        for (reached, said) in [
            (
                Reached::Here,
                "is this node's own: two nodes have one InternalIP",
            ),
            (
                Reached::Not("Network is unreachable".to_owned()),
                "is not reached: Network is unreachable",
            ),
        ] {
            assert_eq!(reached.to_string(), said);
        }
    }
}
