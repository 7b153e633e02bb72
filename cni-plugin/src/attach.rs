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
        GATEWAY4, GATEWAY6, HOST_MAC, addresses, full_prefix, gateway, inspect,
        netlink::Netlink,
        netns::{self, Netns},
        sysctl,
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
    /// Addresses of the pod.
    pub ips: &'a [IpAddr],
    /// For people: namespace and name of the pod.
    pub alias: &'a str,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Wired {
    /// Interface index of the host side.
    pub host_ifindex: u32,
    /// `SO_NETNS_COOKIE` of the pod.
    pub netns_cookie: u64,
}

/// A socket inside the pod's namespace, and that namespace's cookie.
#[derive(Debug)]
pub struct Inside {
    netlink: Netlink,
    cookie: u64,
}

/// Enters a namespace once: what can only be done from within.
pub fn enter(netns: &Netns, path: &str) -> Result<Inside, Error> {
    netns
        .inside(|| -> io::Result<Inside> {
            Ok(Inside {
                netlink: Netlink::open()?,
                cookie: netns::cookie(),
            })
        })
        .and_then(|inside| inside)
        .map_err(|e| {
            Error::new(code::NETNS, format!("enter network namespace {path}"))
                .because(e.to_string())
        })
}

impl Inside {
    /// Refuses if the interface is there.
    pub fn must_not_have(&mut self, ifname: &str) -> Result<(), Error> {
        match veth::find(&mut self.netlink, ifname) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Error::new(
                code::ALLOCATION,
                format!("interface {ifname} exists in the container"),
            )
            .because("another plugin made it, or ADD was called twice")),
            Err(e) => Err(failed(format!("look for interface {ifname}"), &e)),
        }
    }

    /// Makes the pair and all that belongs to it.
    pub fn wire(mut self, plan: &Plan<'_>) -> Result<Wired, Error> {
        let mut host = Netlink::open().map_err(|e| failed("open netlink socket", &e))?;
        plan.netns
            .inside(sysctl::prepare_pod)
            .and_then(|done| done)
            .map_err(|e| failed("prepare the pod's namespace", &e))?;
        self.create(&mut host, plan)?;
        let name = plan.pair.host_ifname;
        let host_ifindex = wire_host(&mut host, plan)
            .map_err(|e| failed(format!("wire host interface {name}"), &e))?;
        wire_pod(&mut self.netlink, plan)
            .map_err(|e| failed(format!("wire pod interface {}", plan.pair.ifname), &e))?;
        Ok(Wired {
            host_ifindex,
            netns_cookie: self.cookie,
        })
    }

    fn create(&mut self, host: &mut Netlink, plan: &Plan<'_>) -> Result<(), Error> {
        let pair = &plan.pair;
        let mut made = veth::create(&mut self.netlink, pair, plan.host);
        // An earlier ADD of this very key died: its host side has our name.
        if made
            .as_ref()
            .is_err_and(|e| e.raw_os_error() == Some(libc::EEXIST))
            && veth::remove(host, pair.host_ifname).is_ok_and(|removed| removed)
        {
            made = veth::create(&mut self.netlink, pair, plan.host);
        }
        made.map_err(|e| {
            let Pair {
                ifname,
                host_ifname,
                ..
            } = pair;
            failed(format!("create veth pair {ifname} and {host_ifname}"), &e)
        })
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
        if link.is_some_and(|link| link.running) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Error::new(code::WIRING, what()).because("it does not get into operation"));
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn failed(what: impl Into<String>, cause: &io::Error) -> Error {
    Error::new(code::WIRING, what).because(cause.to_string())
}

fn wire_host(at: &mut Netlink, plan: &Plan<'_>) -> io::Result<u32> {
    let ifname = plan.pair.host_ifname;
    sysctl::prepare_host(ifname)?;
    let index = veth::index(at, ifname)?;
    let mut requests = vec![veth::set_up(index, Some(plan.alias.to_owned()))];
    for &ip in plan.ips {
        if ip.is_ipv6() {
            requests.push(addresses::add(index, GATEWAY6.into(), 64));
        }
        requests.push(addresses::neighbour(index, ip, plan.pair.mac));
        requests.push(addresses::route_on_link(index, ip));
    }
    at.carry_out(requests)?;
    Ok(index)
}

fn wire_pod(at: &mut Netlink, plan: &Plan<'_>) -> io::Result<()> {
    let index = veth::index(at, plan.pair.ifname)?;
    let mut requests = vec![veth::set_up(veth::LO, None), veth::set_up(index, None)];
    for &ip in plan.ips {
        requests.push(addresses::add(index, ip, full_prefix(ip)));
        requests.push(addresses::neighbour(index, gateway(ip), HOST_MAC));
        if ip.is_ipv4() {
            requests.push(addresses::route_on_link(index, GATEWAY4.into()));
        }
        requests.push(addresses::default_route(index, ip));
    }
    at.carry_out(requests)
}
