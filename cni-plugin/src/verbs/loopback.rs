//! The plugin `loopback`, which containerd before 2.4 runs for every pod: sets `lo` up.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::Context;
use crate::{
    protocol::{
        env::Verb,
        error::{Error, code},
        result::{AddResult, Address, Interface, mac},
    },
    wiring::{inspect, netlink::Netlink, netns::Netns, veth},
};

/// Runs a verb of `loopback`.
pub fn run(context: &Context) -> Result<String, Error> {
    match context.call.verb {
        Verb::Add => add(context),
        Verb::Check => check(context),
        // `lo` goes with its namespace.
        Verb::Del | Verb::Gc | Verb::Status | Verb::Version => Ok(String::new()),
    }
}

fn inside<T>(context: &Context, work: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    let path = context.call.netns.as_deref().unwrap_or_default();
    Netns::open(path.as_ref())
        .and_then(|netns| netns.inside(work))
        .and_then(|done| done)
        .map_err(|e| {
            Error::new(
                code::NETNS,
                format!("set up lo in network namespace {path}"),
            )
            .because(e.to_string())
        })
}

fn add(context: &Context) -> Result<String, Error> {
    let present = inside(context, || {
        let mut netlink = Netlink::open()?;
        netlink.carry_out(vec![veth::set_up(veth::LO, None)])?;
        inspect::addresses(&mut netlink, veth::LO)
    })?;
    if let Some(previous) = &context.config.prev_result {
        return Ok(previous.to_string());
    }
    let lo = Interface {
        name: "lo".into(),
        mac: mac([0; 6]),
        mtu: None,
        sandbox: context.call.netns.clone(),
    };
    let addresses = [
        (IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
        (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    ];
    // Without IPv6 the kernel gives one only.
    let addresses = addresses.into_iter().filter(|(ip, _)| present.contains(ip));
    let addresses: Vec<Address> = addresses
        .map(|(ip, prefix)| Address {
            ip,
            prefix,
            gateway: None,
        })
        .collect();
    Ok(AddResult::new(context.version, vec![lo], 0, &addresses).to_json())
}

fn check(context: &Context) -> Result<String, Error> {
    let link = inside(context, || inspect::link(&mut Netlink::open()?, "lo"))?;
    if link.is_some_and(|l| l.up) {
        return Ok(String::new());
    }
    Err(super::broken("interface lo of the container is down"))
}
