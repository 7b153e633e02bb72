//! Wiring one pod.

use std::{
    io,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use crate::{
    protocol::error::{Error, code},
    wiring::{
        GATEWAY4, GATEWAY6, HOST_MAC, addresses,
        device::Device,
        full_prefix, gateway, inspect,
        netlink::{Netlink, Request},
        netns::{self, Netns},
        route::{self, Stand},
        rule, sysctl,
        veth::{self, Pair},
    },
};

/// What is wired.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The pod's namespace.
    pub netns: &'a Netns,
    /// Ours.
    pub host: &'a Netns,
    /// The pair.
    pub pair: Pair<'a>,
    /// Kinds of it, of which the first is taken that the kernel can make; empty for a veth.
    pub devices: &'a [Device],
    /// Addresses of the pod.
    pub ips: &'a [IpAddr],
    /// For people: namespace and name of the pod.
    pub alias: &'a str,
    /// Of an interface that is not the container's first, the number of its own routing table.
    pub table: Option<u32>,
}

/// Sockets inside the pod's namespace and outside of it, and that namespace's cookie.
#[derive(Debug)]
pub struct Inside {
    netlink: Netlink,
    host: Netlink,
    cookie: u64,
}

/// Enters a namespace once: what can only be done from within.
pub fn enter(netns: &Netns, path: &str) -> Result<Inside, Error> {
    let (netlink, cookie) = netns
        .inside(|| -> io::Result<(Netlink, u64)> { Ok((Netlink::open()?, netns::cookie())) })
        .and_then(|inside| inside)
        .map_err(|e| {
            Error::new(code::NETNS, format!("enter network namespace {path}"))
                .because(e.to_string())
        })?;
    let host = Netlink::open().map_err(|e| failed("open netlink socket", &e))?;
    Ok(Inside {
        netlink,
        host,
        cookie,
    })
}

impl Inside {
    /// Cookie of the namespace.
    pub const fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Refuses if the interface is there. True: another one is up, beside `lo`. (The kernel's own tunnels are down.)
    pub fn must_not_have(&mut self, ifname: &str) -> Result<bool, Error> {
        let links = inspect::links(&mut self.netlink)
            .map_err(|e| failed(format!("look for interface {ifname}"), &e))?;
        if links.iter().any(|link| link.name == ifname) {
            let msg = format!("interface {ifname} exists in the container");
            return Err(Error::new(code::ALLOCATION, msg)
                .because("another plugin made it, or ADD was called twice"));
        }
        Ok(links.iter().any(|link| link.index != veth::LO && link.up))
    }

    /// Makes the pair, and gives its kind and the index of its host side. `is_ours`: the key is still ours, and with it
    /// what has its name.
    pub fn create(
        &mut self,
        plan: &Plan<'_>,
        is_ours: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(Device, u32), Error> {
        if plan.ips.iter().any(IpAddr::is_ipv6) {
            plan.netns
                .inside(sysctl::prepare_pod)
                .and_then(|done| done)
                .map_err(|e| failed("prepare the pod's namespace", &e))?;
        }
        let pair = &plan.pair;
        let name = pair.host_ifname;
        let mut made = self.make(plan);
        // An earlier ADD of this very key died: its host side has our name.
        let exists = |e: &io::Error| e.raw_os_error() == Some(libc::EEXIST);
        if made.as_ref().is_err_and(exists) {
            is_ours()?;
            if veth::remove(&mut self.host, name).is_ok_and(|removed| removed) {
                made = self.make(plan);
            }
        }
        let wanted = plan.devices.last().copied().unwrap_or_default();
        let what = || format!("create {wanted} pair {} and {name}", pair.ifname);
        let device = made.map_err(|e| not_made(what(), wanted, &e))?;
        let index = veth::index(&mut self.host, name).map_err(|e| failed(what(), &e))?;
        Ok((device, index))
    }

    /// A pair of the first kind that the kernel can make.
    fn make(&mut self, plan: &Plan<'_>) -> io::Result<Device> {
        let (last, others) = plan.devices.split_last().unwrap_or((&Device::Veth, &[]));
        let mut make = |device: Device| {
            let at = [&mut self.netlink, &mut self.host];
            let made = device.create(at, &plan.pair, [plan.netns, plan.host]);
            made.map(|()| device)
        };
        for device in others {
            match make(*device) {
                Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
                made => return made,
            }
        }
        make(*last)
    }

    /// Lets packets through the pair, once programs and policy are in force.
    pub fn open(&mut self, device: Device, host_ifindex: u32) -> Result<(), Error> {
        let opened = device.open(&mut self.host, host_ifindex);
        opened.map_err(|e| {
            failed(
                format!("open {device} pair of interface {host_ifindex}"),
                &e,
            )
        })
    }

    /// Gives the pair all that belongs to it.
    pub fn wire(&mut self, plan: &Plan<'_>, host_ifindex: u32) -> Result<(), Error> {
        let name = plan.pair.host_ifname;
        wire_host(&mut self.host, plan, host_ifindex)
            .map_err(|e| failed(format!("wire host interface {name}"), &e))?;
        wire_pod(&mut self.netlink, plan)
            .map_err(|e| failed(format!("wire pod interface {}", plan.pair.ifname), &e))
    }
}

impl Inside {
    /// Waits until the pod's IPv6 addresses are its own: a worker of the kernel makes them so, duplicate detection or
    /// not, and what comes before that is lost
    /// (<https://elixir.bootlin.com/linux/v6.8/source/net/ipv6/addrconf.c#L4193>).
    pub fn await_addresses(&mut self, ips: &[IpAddr], deadline: Instant) -> Result<(), Error> {
        for ip in ips.iter().filter(|ip| ip.is_ipv6()) {
            let what = || format!("wait for address {ip} of the pod");
            while !route::is_local(&mut self.netlink, *ip).map_err(|e| failed(what(), &e))? {
                if Instant::now() >= deadline {
                    let why = "the kernel does not make it the pod's own";
                    return Err(Error::new(code::WIRING, what()).because(why));
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

/// Waits until the host's side is in operation. It came up before its peer, so a worker of the kernel makes it ready some
/// time after the peer is up; what is sent before that is lost
/// (<https://elixir.bootlin.com/linux/v6.8/source/net/core/link_watch.c#L178>).
pub fn await_running(ifname: &str, deadline: Instant) -> Result<(), Error> {
    let what = || format!("wait for host interface {ifname}");
    let mut host = Netlink::open().map_err(|e| failed(what(), &e))?;
    loop {
        let link = inspect::link(&mut host, ifname).map_err(|e| failed(what(), &e))?;
        let Some(link) = link else {
            return Err(Error::new(code::WIRING, what()).because("it is gone"));
        };
        if link.running {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::new(code::WIRING, what()).because("it does not get into operation"));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// A pair could not be made, or not of this kind.
fn not_made(what: String, device: Device, cause: &io::Error) -> Error {
    if cause.raw_os_error() == Some(libc::EOPNOTSUPP) {
        return Error::new(code::WIRING, what).because(device.lacking());
    }
    failed(what, cause)
}

fn failed(what: impl Into<String>, cause: &io::Error) -> Error {
    Error::new(code::WIRING, what).because(cause.to_string())
}

fn wire_host(at: &mut Netlink, plan: &Plan<'_>, index: u32) -> io::Result<()> {
    let ipv6 = plan.ips.iter().any(IpAddr::is_ipv6);
    sysctl::prepare_host(plan.pair.host_ifname, ipv6)?;
    let quiet = veth::without_link_local(index, plan.pair.host_ifname);
    let up = veth::set_up(index, Some(plan.alias.to_owned()));
    let mut requests: Vec<_> = quiet.into_iter().chain([up]).collect();
    for &ip in plan.ips {
        // The pod knows its gateway already; but a hardware address that changes lets it forget that.
        requests.push(if ip.is_ipv6() {
            addresses::add(index, GATEWAY6.into(), 64)
        } else {
            addresses::proxy(index, GATEWAY4.into())
        });
        requests.push(addresses::neighbour(index, ip, plan.pair.mac));
        requests.push(addresses::route_on_link(index, ip, Stand::MAIN));
    }
    at.carry_out(requests)
}

/// The first interface has the default routes. A further one stands behind it there, for sockets that are bound to it,
/// and has a table of its own for packets from its addresses, so that none leaves by an interface that is not its own.
fn wire_pod(at: &mut Netlink, plan: &Plan<'_>) -> io::Result<()> {
    let index = veth::index(at, plan.pair.ifname)?;
    let mut requests = vec![veth::set_up(veth::LO, None), veth::set_up(index, None)];
    if let Some(table) = plan.table {
        // Left over of an earlier ADD of this key in this namespace.
        rule::remove(at, table)?;
    }
    for &ip in plan.ips {
        requests.push(addresses::add(index, ip, full_prefix(ip)));
        requests.push(addresses::neighbour(index, gateway(ip), HOST_MAC));
        let mut stands = vec![Stand::MAIN];
        if let Some(table) = plan.table {
            let behind = route::behind_defaults(at, ip.is_ipv4())?;
            stands = vec![
                Stand { table, metric: 0 },
                behind.map_or(Stand::MAIN, Stand::behind),
            ];
            requests.push(rule::from(ip, table));
        }
        for stand in stands {
            requests.extend(routes(index, ip, stand));
        }
    }
    at.carry_out(requests)
}

fn routes(index: u32, ip: IpAddr, stand: Stand) -> impl Iterator<Item = Request> {
    let gateway = ip
        .is_ipv4()
        .then(|| addresses::route_on_link(index, GATEWAY4.into(), stand));
    gateway
        .into_iter()
        .chain([addresses::default_route(index, ip, stand)])
}
