//! CHECK: is the container's network as ADD left it? Some runtimes ask right after every ADD.

use std::{io, net::IpAddr, time::Instant};

use ipnetwork::IpNetwork;

use super::{Context, broken};
use crate::{
    attachment::Attachment,
    client::{self, Failure},
    protocol::{
        error::{Error, code},
        prev,
    },
    rpc::Call,
    wiring::{
        HOST_MAC, gateway,
        inspect::{self, Link},
        name,
        netlink::Netlink,
        netns::Netns,
        route,
    },
};

/// Seconds that CHECK may take.
const DEADLINE: u64 = 2;

/// Runs the verb.
pub fn run(context: &Context) -> Result<String, Error> {
    let previous = context.config.prev_result.as_ref().ok_or_else(|| {
        Error::new(code::CONFIG, "missing prevResult").because("CHECK needs the result of ADD")
    })?;
    let told = prev::read(previous, &context.call.key.ifname)?;
    let attachment = record(context)?;
    let ips: Vec<_> = attachment.add.ips.clone();
    // Plugins after us may have added addresses, but none of ours may be missing.
    if let Some(ip) = ips.iter().find(|ip| !told.ips.contains(ip)) {
        return Err(broken(format!(
            "prevResult lacks the container's address {ip}"
        )));
    }
    check_pod(context, &ips, told.mtu.unwrap_or(attachment.mtu))?;
    check_host(context, &ips, attachment.mtu).map_err(|e| read_failed(&e))??;
    ask(context)?;
    Ok(String::new())
}

fn record(context: &Context) -> Result<Attachment, Error> {
    let key = &context.call.key;
    let path = context.paths.attachment(key);
    Attachment::read(&path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::new(
            code::UNKNOWN_CONTAINER,
            format!(
                "container {} has no interface {} of weir",
                key.container_id, key.ifname
            ),
        ),
        _ => Error::io(format!("read {}", path.display()), &e),
    })
}

fn read_failed(cause: &io::Error) -> Error {
    Error::io("read interfaces of the container", cause)
}

fn check_pod(context: &Context, ips: &[IpAddr], mtu: u32) -> Result<(), Error> {
    let path = context.call.netns.as_deref().unwrap_or_default();
    let invalid = |e: &io::Error| {
        Error::new(code::NETNS, format!("enter network namespace {path}")).because(e.to_string())
    };
    let netns = Netns::open(path.as_ref()).map_err(|e| invalid(&e))?;
    let mut pod = netns
        .inside(Netlink::open)
        .and_then(|n| n)
        .map_err(|e| invalid(&e))?;
    check_inside(&mut pod, &context.call.key.ifname, ips, mtu).map_err(|e| read_failed(&e))?
}

type Checked = io::Result<Result<(), Error>>;

fn check_inside(pod: &mut Netlink, ifname: &str, ips: &[IpAddr], mtu: u32) -> Checked {
    let link = match sound(inspect::link(pod, ifname)?, ifname, "the container", mtu) {
        Ok(link) => link,
        Err(e) => return Ok(Err(e)),
    };
    let present = inspect::addresses(pod, link.index)?;
    for ip in ips {
        if !present.contains(ip) {
            return Ok(Err(broken(format!("{ifname} of the container lacks {ip}"))));
        }
        let via = gateway(*ip);
        let routed = route::routes(pod, ip.is_ipv4())?
            .iter()
            .any(|r| r.to.prefix() == 0 && r.way.gateway == Some(via) && r.way.index == link.index);
        if !routed {
            return Ok(Err(broken(format!(
                "the container lacks the default route via {via}"
            ))));
        }
        let known = inspect::neighbours(pod, link.index, ip.is_ipv4())?
            .iter()
            .any(|(to, mac)| *to == via && mac[..] == HOST_MAC);
        if !known {
            return Ok(Err(broken(format!(
                "the container lacks the neighbour {via}"
            ))));
        }
    }
    Ok(Ok(()))
}

fn check_host(context: &Context, ips: &[IpAddr], mtu: u32) -> Checked {
    let ifname = name::host_ifname(&context.call.key);
    let mut host = Netlink::open()?;
    let link = match sound(inspect::link(&mut host, &ifname)?, &ifname, "the host", mtu) {
        Ok(link) => link,
        Err(e) => return Ok(Err(e)),
    };
    for ip in ips {
        let routed = route::routes(&mut host, ip.is_ipv4())?
            .iter()
            .any(|r| r.to == IpNetwork::from(*ip) && r.way.index == link.index);
        if !routed {
            return Ok(Err(broken(format!(
                "the host lacks the route to {ip} on {ifname}"
            ))));
        }
    }
    Ok(Ok(()))
}

/// `mtu`: 0 if it is not known.
fn sound(link: Option<Link>, ifname: &str, of: &str, mtu: u32) -> Result<Link, Error> {
    match link {
        None => Err(broken(format!("interface {ifname} of {of} is gone"))),
        Some(link) if !link.up => Err(broken(format!("interface {ifname} of {of} is down"))),
        Some(link) if mtu != 0 && link.mtu != mtu => Err(broken(format!(
            "interface {ifname} of {of} has an MTU of {}, not {mtu}",
            link.mtu
        ))),
        Some(link) => Ok(link),
    }
}

fn ask(context: &Context) -> Result<(), Error> {
    let socket = context.paths.socket();
    let call = Call::Check(context.call.key.clone());
    match client::ask(&socket, call, Instant::now(), context.after(DEADLINE)) {
        Ok(_) => Ok(()),
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Unreachable(cause)) => Err(client::unreachable(&socket, &cause)),
    }
}
