//! Routes of the main table, and their netlink messages.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
        RouteType,
    },
};

use super::netlink::{DUMP, Netlink, family};

const MAIN_TABLE: u8 = 254;
const ALL4: Ipv4Network = Ipv4Network::new_checked(Ipv4Addr::UNSPECIFIED, 0).expect("in range");
const ALL6: Ipv6Network = Ipv6Network::new_checked(Ipv6Addr::UNSPECIFIED, 0).expect("in range");

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; of length 0 for a default route.
    pub to: IpNetwork,
    /// Who made it: the number that `ip route show proto` takes.
    pub protocol: u8,
    /// Where it leads.
    pub way: Way,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Index of the link.
    pub index: u32,
    /// The next router; none for what is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The source address of packets whose socket has none.
    pub source: Option<IpAddr>,
    /// The length of a packet for which it has room, if that is less than what its link says.
    pub mtu: Option<u32>,
}

impl Way {
    /// Nowhere: the sender is told that it is not allowed (`prohibit`).
    pub const NOWHERE: Self = Self {
        index: 0,
        gateway: None,
        source: None,
        mtu: None,
    };
}

/// Where a route stands: its table, and its metric, which orders routes to the same destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Table.
    pub table: u32,
    /// Metric; 0 leaves it to the kernel.
    pub metric: u32,
}

impl Stand {
    /// In the main table, in front of all.
    pub const MAIN: Self = Self {
        table: MAIN_TABLE as u32,
        metric: 0,
    };

    /// In the main table, at a metric.
    pub const fn behind(metric: u32) -> Self {
        Self {
            metric,
            ..Self::MAIN
        }
    }
}

impl Route {
    /// The message that asks for this route.
    pub fn message(&self) -> RouteMessage {
        let Way {
            index,
            gateway,
            source,
            mtu,
        } = self.way;
        let mut message = RouteMessage::default();
        message.header.address_family = family(self.to.is_ipv4());
        message.header.destination_prefix_length = self.to.prefix();
        message.header.table = MAIN_TABLE;
        message.header.protocol = RouteProtocol::from(self.protocol);
        message.header.scope = match gateway {
            None if self.to.is_ipv4() => RouteScope::Link,
            _ => RouteScope::Universe,
        };
        let nowhere = self.way == Way::NOWHERE;
        message.header.kind = if nowhere {
            message.header.scope = RouteScope::Universe;
            RouteType::Prohibit
        } else {
            RouteType::Unicast
        };
        let to = (self.to.prefix() > 0).then(|| self.to.network());
        let attributes = [
            to.map(|ip| RouteAttribute::Destination(ip.into())),
            gateway.map(|ip| RouteAttribute::Gateway(ip.into())),
            source.map(|ip| RouteAttribute::PrefSource(ip.into())),
            (!nowhere).then_some(RouteAttribute::Oif(index)),
            mtu.map(|mtu| RouteAttribute::Metrics(room(mtu))),
        ];
        message.attributes = attributes.into_iter().flatten().collect();
        message
    }

    /// As [`Self::message`], elsewhere than in front of the main table.
    pub fn message_at(&self, stand: Stand) -> RouteMessage {
        let mut message = self.message();
        // 0 where it does not fit: the attribute tells it.
        message.header.table = u8::try_from(stand.table).unwrap_or(0);
        let table = RouteAttribute::Table(stand.table);
        message.attributes.push(table);
        if stand.metric != 0 {
            let metric = RouteAttribute::Priority(stand.metric);
            message.attributes.push(metric);
        }
        message
    }

    /// What a message tells, if it is of the main table.
    pub fn of(message: &RouteMessage) -> Option<Self> {
        let header = &message.header;
        if header.table != MAIN_TABLE {
            return None;
        }
        let mut route = Self {
            to: all(header.address_family == AddressFamily::Inet),
            protocol: header.protocol.into(),
            way: Way::default(),
        };
        let way = &mut route.way;
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(to) => {
                    route.to = IpNetwork::new(ip(to)?, header.destination_prefix_length).ok()?;
                }
                RouteAttribute::Gateway(via) => way.gateway = ip(via),
                RouteAttribute::PrefSource(source) => way.source = ip(source),
                RouteAttribute::Oif(index) => way.index = *index,
                RouteAttribute::Metrics(metrics) => {
                    way.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        // IPv6 names the loopback there.
        if header.kind == RouteType::Prohibit {
            route.way = Way::NOWHERE;
        }
        Some(route)
    }
}

/// Metrics of a way with less room than its link. Locked: for what is forwarded the kernel goes by no other one over IPv6
/// (<https://elixir.bootlin.com/linux/v6.12/source/include/net/ip6_route.h#L319>).
fn room(mtu: u32) -> Vec<RouteMetric> {
    // RTAX_MTU
    const MTU: u32 = 2;
    vec![RouteMetric::Lock(1 << MTU), RouteMetric::Mtu(mtu)]
}

/// The message that asks for the routes of a family.
pub fn request(ipv4: bool) -> RouteMessage {
    let mut request = RouteMessage::default();
    request.header.address_family = family(ipv4);
    request
}

/// The routes of a family.
pub fn routes(at: &mut Netlink, ipv4: bool) -> io::Result<Vec<Route>> {
    let routes = routes_and_metrics(at, ipv4)?;
    Ok(routes.into_iter().map(|(route, _)| route).collect())
}

/// The routes of a family, each with its metric.
pub fn routes_and_metrics(at: &mut Netlink, ipv4: bool) -> io::Result<Vec<(Route, u32)>> {
    let answers = at.request(&RouteNetlinkMessage::GetRoute(request(ipv4)), DUMP)?;
    let routes = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(message) => Some((Route::of(message)?, metric(message))),
        _ => None,
    });
    Ok(routes.collect())
}

/// The metric of a route that asks for none.
pub const fn usual_metric(ipv4: bool) -> u32 {
    // IP6_RT_PRIO_USER: https://github.com/torvalds/linux/blob/v6.12/include/uapi/linux/ipv6_route.h#L61
    if ipv4 { 0 } else { 1024 }
}

/// Whether an address is this namespace's own.
pub fn is_local(at: &mut Netlink, ip: IpAddr) -> io::Result<bool> {
    let mut request = request(ip.is_ipv4());
    request.header.destination_prefix_length = super::full_prefix(ip);
    request
        .attributes
        .push(RouteAttribute::Destination(ip.into()));
    let answers = match at.request(&RouteNetlinkMessage::GetRoute(request), 0) {
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::ENETUNREACH | libc::EHOSTUNREACH)
            ) =>
        {
            return Ok(false);
        }
        answers => answers?,
    };
    Ok(answers.iter().any(|answer| {
        matches!(answer, RouteNetlinkMessage::NewRoute(m) if m.header.kind == RouteType::Local)
    }))
}

/// The next metric at which a default route of a family stands behind those that are there; none if there is none.
pub fn behind_defaults(at: &mut Netlink, ipv4: bool) -> io::Result<Option<u32>> {
    let answers = at.request(&RouteNetlinkMessage::GetRoute(request(ipv4)), DUMP)?;
    let metrics = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(m) => (Route::of(m)?.to.prefix() == 0).then(|| metric(m)),
        _ => None,
    });
    Ok(metrics.max().map(|last| last.saturating_add(1)))
}

fn metric(message: &RouteMessage) -> u32 {
    let metric = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    metric.unwrap_or(0)
}

/// All addresses of a family.
pub const fn all(ipv4: bool) -> IpNetwork {
    if ipv4 {
        IpNetwork::V4(ALL4)
    } else {
        IpNetwork::V6(ALL6)
    }
}

const fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some(IpAddr::V4(*a)),
        RouteAddress::Inet6(a) => Some(IpAddr::V6(*a)),
        _ => None,
    }
}
