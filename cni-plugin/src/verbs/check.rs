//! CHECK: is the container's network as ADD left it? Some runtimes ask right after every ADD.

use std::{io, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{Context, broken};
use crate::{
    attachment::Attachment,
    claim::claim,
    client::{self, Failure, Patience},
    protocol::{
        error::{Error, code},
        prev,
        result::mac as text,
    },
    rpc::Call,
    wiring::{
        HOST_MAC, gateway,
        inspect::{self, Link},
        name,
        netlink::Netlink,
        netns::Netns,
        route::{self, Route},
        rule,
    },
};

/// Seconds that CHECK may take.
const DEADLINE: u64 = 2;

/// Runs the verb.
pub fn run(context: &Context) -> Result<String, Error> {
    let previous = context.config.prev_result.as_ref().ok_or_else(|| {
        Error::new(code::CONFIG, "missing prevResult").because("CHECK needs the result of ADD")
    })?;
    let told = prev::read(previous)?;
    claim(&context.paths, &context.call.key, context.after(DEADLINE))?;
    let attachment = record(context)?;
    // Plugins after us may have added addresses, but none of ours may be missing.
    if let Some(ip) = attachment.add.ips.iter().find(|ip| !told.contains(ip)) {
        return Err(broken(format!(
            "prevResult lacks the container's address {ip}"
        )));
    }
    let mac = check_pod(context, &attachment)?;
    check_host(context, &attachment, &mac).map_err(|e| read_failed(&e))??;
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

/// Gives the hardware address of the container's side.
fn check_pod(context: &Context, attachment: &Attachment) -> Result<Vec<u8>, Error> {
    let path = context.call.netns.as_deref().unwrap_or_default();
    let invalid = |e: &io::Error| {
        Error::new(code::NETNS, format!("enter network namespace {path}")).because(e.to_string())
    };
    let netns = Netns::open(path.as_ref()).map_err(|e| invalid(&e))?;
    let mut pod = netns
        .inside(Netlink::open)
        .and_then(|n| n)
        .map_err(|e| invalid(&e))?;
    check_inside(&mut pod, attachment).map_err(|e| read_failed(&e))?
}

type Checked<T> = io::Result<Result<T, Error>>;

fn check_inside(pod: &mut Netlink, attachment: &Attachment) -> Checked<Vec<u8>> {
    let (add, mtu) = (&attachment.add, attachment.mtu);
    let ifname = &add.key.ifname;
    let link = match sound(inspect::link(pod, ifname)?, ifname, "the container") {
        Ok(link) => link,
        Err(e) => return Ok(Err(e)),
    };
    // Plugins after us may make it smaller, and no result says so; what is larger does not get through.
    if mtu != 0 && link.mtu > mtu {
        return Ok(Err(broken(format!(
            "interface {ifname} of the container has an MTU of {}, more than {mtu}",
            link.mtu
        ))));
    }
    let present = inspect::addresses(pod, link.index)?;
    for ip in &add.ips {
        if !present.contains(ip) {
            return Ok(Err(broken(format!("{ifname} of the container lacks {ip}"))));
        }
        let lacks = check_ways(pod, &link, *ip, attachment)?;
        if let Some(lacks) = lacks {
            return Ok(Err(broken(format!("the container lacks {lacks}"))));
        }
    }
    Ok(Ok(link.mac))
}

/// What the way out from an address lacks.
fn check_ways(
    pod: &mut Netlink,
    link: &Link,
    ip: IpAddr,
    attachment: &Attachment,
) -> io::Result<Option<String>> {
    let via = gateway(ip);
    let is_default =
        |r: &Route| r.to.prefix() == 0 && r.way.gateway == Some(via) && r.way.index == link.index;
    if !route::routes(pod, ip.is_ipv4())?.iter().any(is_default) {
        return Ok(Some(format!("the default route via {via}")));
    }
    // With its hardware address a later plugin lets it forget all neighbours; it asks for them, then.
    let is_as_made = link.mac == attachment.add.pod_mac;
    let known = inspect::neighbours(pod, link.index, ip.is_ipv4())?;
    let is_gateway = |(to, mac): &(IpAddr, Vec<u8>)| *to == via && mac[..] == HOST_MAC;
    if is_as_made && !known.iter().any(is_gateway) {
        return Ok(Some(format!("the neighbour {via}")));
    }
    if attachment.beside && !rule::is_there(pod, ip, name::table(attachment.key()))? {
        return Ok(Some(format!("the rule for packets from {ip}")));
    }
    Ok(None)
}

/// `mac`: that of the container's side.
fn check_host(context: &Context, attachment: &Attachment, mac: &[u8]) -> Checked<()> {
    let ifname = name::host_ifname(&context.call.key);
    let mut host = Netlink::open()?;
    let link = match sound(inspect::link(&mut host, &ifname)?, &ifname, "the host") {
        Ok(link) => link,
        Err(e) => return Ok(Err(e)),
    };
    let wrong = |what: String| {
        Ok(Err(broken(format!(
            "interface {ifname} of the host has {what}"
        ))))
    };
    let mtu = attachment.mtu;
    if mtu != 0 && link.mtu != mtu {
        return wrong(format!("an MTU of {}, not {mtu}", link.mtu));
    }
    if link.mac != HOST_MAC {
        return wrong(format!("another hardware address than {}", text(HOST_MAC)));
    }
    if link.shut {
        return wrong("a pair that is shut (netkit's policy is blackhole)".to_owned());
    }
    for ip in &attachment.add.ips {
        let routed = route::routes(&mut host, ip.is_ipv4())?
            .iter()
            .any(|r| r.to == IpNetwork::from(*ip) && r.way.index == link.index);
        if !routed {
            return Ok(Err(broken(format!(
                "the host lacks the route to {ip} on {ifname}"
            ))));
        }
        let known = inspect::neighbours(&mut host, link.index, ip.is_ipv4())?;
        if !known.iter().any(|(to, known)| to == ip && known == mac) {
            return Ok(Err(broken(format!(
                "the host does not know the hardware address of {ip} on {ifname}"
            ))));
        }
    }
    Ok(Ok(()))
}

fn sound(link: Option<Link>, ifname: &str, of: &str) -> Result<Link, Error> {
    match link {
        None => Err(broken(format!("interface {ifname} of {of} is gone"))),
        Some(link) if !link.up => Err(broken(format!("interface {ifname} of {of} is down"))),
        Some(link) => Ok(link),
    }
}

fn ask(context: &Context) -> Result<(), Error> {
    let socket = context.paths.socket();
    let call = Call::Check(context.call.key.clone());
    match client::ask(&socket, call, Patience::until(context.after(DEADLINE))) {
        Ok(_) => Ok(()),
        Err(Failure::Refused(error)) => Err(error),
        Err(Failure::Unreachable(cause)) => Err(client::unreachable(&socket, &cause)),
    }
}
