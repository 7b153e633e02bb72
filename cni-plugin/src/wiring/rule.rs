//! Policy routing: packets from an address of a container's second interface leave by that interface.

use std::{io, net::IpAddr};

use netlink_packet_route::{
    RouteNetlinkMessage,
    rule::{RuleAction, RuleAttribute, RuleMessage},
};

use super::{
    ROUTE_PROTOCOL, full_prefix,
    netlink::{self, CHANGE, CREATE, DUMP, Netlink, Request},
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
