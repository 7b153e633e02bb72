//! Policy routing: packets from an address of a container's second interface leave by that interface.

use std::{io, net::IpAddr};

use ipnetwork::IpNetwork;
use netlink_packet_route::{
    RouteNetlinkMessage,
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use super::{
    ROUTE_PROTOCOL, full_prefix,
    netlink::{self, CHANGE, CREATE, DUMP, Netlink, Request},
    route,
};

/// Before the main table's rule (32766).
const PRIORITY: u32 = 1088;

fn message(from: Option<IpAddr>, ipv4: bool, table: u32) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = netlink::family(ipv4);
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::Table(table),
        RuleAttribute::Protocol(ROUTE_PROTOCOL.into()),
    ];
    if let Some(ip) = from {
        rule.header.src_len = full_prefix(ip);
        rule.attributes.push(RuleAttribute::Source(ip));
    }
    rule
}

/// A rule, as far as it matters to where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Rules of lower numbers are asked first.
    pub priority: u32,
    /// Destinations that it is about; of length 0: all.
    pub to: IpNetwork,
    /// It goes by more than the destination: senders, links, marks, ports.
    pub narrow: bool,
    /// The table that it leads to; none: nowhere.
    pub table: Option<u32>,
    /// Who made it.
    pub protocol: u8,
}

impl Rule {
    /// None of what leads to no table and refuses nothing.
    fn of(message: &RuleMessage) -> Option<Self> {
        let header = &message.header;
        let mut rule = Self {
            priority: 0,
            to: route::all(header.family == netlink::family(true)),
            narrow: header.tos != 0 || header.flags.contains(RuleFlags::Invert),
            table: match header.action {
                RuleAction::ToTable => Some(header.table.into()),
                RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit => None,
                _ => return None,
            },
            protocol: 0,
        };
        for attribute in &message.attributes {
            match attribute {
                RuleAttribute::Priority(priority) => rule.priority = *priority,
                RuleAttribute::Destination(ip) => {
                    rule.to = IpNetwork::new(*ip, header.dst_len).ok()?;
                }
                RuleAttribute::Table(table) => rule.table = rule.table.and(Some(*table)),
                RuleAttribute::Protocol(protocol) => rule.protocol = (*protocol).into(),
                RuleAttribute::Source(_)
                | RuleAttribute::Iifname(_)
                | RuleAttribute::Oifname(_)
                | RuleAttribute::FwMark(_)
                | RuleAttribute::FwMask(_)
                | RuleAttribute::TunId(_)
                | RuleAttribute::L3MDev(true)
                | RuleAttribute::UidRange(_)
                | RuleAttribute::IpProtocol(_)
                | RuleAttribute::SourcePortRange(_)
                | RuleAttribute::DestinationPortRange(_)
                | RuleAttribute::SuppressIfGroup(_) => rule.narrow = true,
                // The kernel always tells it; all ones: none are left out.
                RuleAttribute::SuppressPrefixLen(length) => rule.narrow |= *length != u32::MAX,
                _ => {}
            }
        }
        Some(rule)
    }
}

/// All rules of a family, as they are asked; none where the kernel has no rules for it.
pub fn all(at: &mut Netlink, ipv4: bool) -> io::Result<Vec<Rule>> {
    let mut request = RuleMessage::default();
    request.header.family = netlink::family(ipv4);
    let answers = match at.request(&RouteNetlinkMessage::GetRule(request), DUMP) {
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)
            ) =>
        {
            return Ok(Vec::new());
        }
        answers => answers?,
    };
    let rules = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRule(message) => Rule::of(message),
        _ => None,
    });
    Ok(rules.collect())
}

/// What makes packets from an address look into a table first.
pub fn from(ip: IpAddr, table: u32) -> Request {
    Request {
        what: format!("add rule from {ip}"),
        message: RouteNetlinkMessage::NewRule(message(Some(ip), ip.is_ipv4(), table)),
        flags: CREATE,
    }
}

/// Whether that is in force.
pub fn is_there(at: &mut Netlink, ip: IpAddr, table: u32) -> io::Result<bool> {
    let mut request = RuleMessage::default();
    request.header.family = netlink::family(ip.is_ipv4());
    let answers = at.request(&RouteNetlinkMessage::GetRule(request), DUMP)?;
    let wanted = [RuleAttribute::Source(ip), RuleAttribute::Table(table)];
    Ok(answers.iter().any(|answer| match answer {
        RouteNetlinkMessage::NewRule(rule) => wanted.iter().all(|a| rule.attributes.contains(a)),
        _ => false,
    }))
}

/// Removes all rules of a table, which go by no link's end.
pub fn remove(at: &mut Netlink, table: u32) -> io::Result<()> {
    for ipv4 in [true, false] {
        loop {
            let rule = message(None, ipv4, table);
            match at.request(&RouteNetlinkMessage::DelRule(rule), CHANGE) {
                Ok(_) => {}
                // None is left; or the kernel has no such family, or no rules.
                Err(e)
                    if matches!(
                        e.raw_os_error(),
                        Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP)
                    ) =>
                {
                    break;
                }
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}
