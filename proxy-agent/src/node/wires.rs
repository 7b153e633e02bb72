//! Self-healing: what the CNI plugin made on the host's side of a pod's interface, put back where it is missing: a restarted network
//! manager, a flush by hand, or the interface set down and up takes it away, and the pod with it.

use std::{collections::BTreeMap, io, net::IpAddr};

use cni_plugin::wiring::{
    GATEWAY4, GATEWAY6, HOST_MAC, addresses, mtu,
    netlink::{Netlink, Request},
    route::Stand,
    sysctl, veth,
};
use ipnetwork::IpNetwork;

use super::{
    facts::{Facts, Interface},
    neighbours::Neighbours,
    sysctls::{Setter, root},
};
use crate::{
    model::{Owned, Wire},
    subject::Repairs,
};

/// Looks after pods' interfaces.
#[derive(Debug, Default)]
pub struct Mender {
    /// Those that were whole when they were looked at last, by index. The plugin may be at work on others.
    whole: BTreeMap<u32, Wire>,
}

impl Mender {
    /// Puts back what is missing; says what it could not.
    pub fn mend(&mut self, wires: &[Wire], facts: &Facts, repairs: &mut Repairs) -> Vec<String> {
        self.try_mend(wires, facts, repairs)
            .unwrap_or_else(|e| vec![format!("look after pods' interfaces: {e}")])
    }

    fn try_mend(
        &mut self,
        wires: &[Wire],
        facts: &Facts,
        repairs: &mut Repairs,
    ) -> io::Result<Vec<String>> {
        let former = std::mem::take(&mut self.whole);
        if wires.is_empty() {
            return Ok(Vec::new());
        }
        let mut netlink = Netlink::open()?;
        let neighbours = Neighbours::read(&mut netlink)?;
        let mut errors = Vec::new();
        for wire in wires {
            let former = former.get(&wire.index);
            let was_whole = former.is_some_and(|former| former.is_as(wire));
            repairs.gather();
            // In this order: with too small an MTU the kernel knows neither settings nor addresses of IPv6.
            let mut done = widen(&mut netlink, wire, facts);
            errors.extend(set(wire, facts, repairs));
            done.extend(put_back(
                &mut netlink,
                missing(wire, wires, facts, &neighbours),
            ));
            for (what, thing) in done.done.iter().filter(|_| was_whole) {
                repairs.repaired(*what, of_request(thing));
            }
            let first = done.done.first().map(|(_, thing)| thing.as_str());
            repairs.gathered(|many| thing(wire, many, first));
            if done.errors.is_empty() {
                self.whole.insert(wire.index, wire.clone());
            }
            errors.extend(done.errors);
        }
        Ok(errors)
    }
}

/// What was put back of an interface: one cause takes all of it, as a link that was set down takes its routes and neighbours.
fn thing(wire: &Wire, many: usize, first: Option<&str>) -> String {
    let Wire { pod, name, .. } = wire;
    match (many, first) {
        (1, Some(thing)) => format!("{}, of pod {pod}", of_request(thing)),
        _ => format!("{many} settings, routes or neighbours of {name}, of pod {pod}"),
    }
}

/// Requests are named by what is to be done.
fn of_request(thing: &str) -> &str {
    thing.strip_prefix("add ").unwrap_or(thing)
}

/// What came of requests.
#[derive(Default)]
struct Done {
    done: Vec<(Owned, String)>,
    errors: Vec<String>,
}

impl Done {
    fn extend(&mut self, more: Self) {
        self.done.extend(more.done);
        self.errors.extend(more.errors);
    }
}

/// Gives a link the MTU that the plugin gave it. The pod's side is the pod's: plugins that come after ours change it.
fn widen(netlink: &mut Netlink, wire: &Wire, facts: &Facts) -> Done {
    let mut all = Done::default();
    let differs = |link: &&Interface| wire.mtu != 0 && link.mtu != wire.mtu;
    let Some(link) = of(wire, facts).filter(differs) else {
        return all;
    };
    let (mtu, what) = (wire.mtu, format!("MTU of {} on {}", wire.mtu, wire.name));
    match mtu::set(netlink, (wire.index, &wire.name), (link.mtu, mtu)) {
        Ok(()) => {
            tracing::info!(what, "put back");
            all.done.push((Owned::PodMtus, what));
        }
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
        Err(e) => all.errors.push(format!("add {what}: {e}")),
    }
    all
}

/// One at a time: what fails says so by its name, and the rest is done.
fn put_back(netlink: &mut Netlink, requests: Vec<(Owned, Request)>) -> Done {
    let mut all = Done::default();
    for (owned, request) in requests {
        let what = request.what.clone();
        match netlink.request(&request.message, request.flags) {
            Ok(_) => {
                tracing::info!(what, "put back");
                all.done.push((owned, what));
            }
            // The pod has gone since we looked.
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
            Err(e) => all.errors.push(format!("{what}: {e}")),
        }
    }
    all
}

/// What the plugin set on the host's side.
fn set(wire: &Wire, facts: &Facts, repairs: &mut Repairs) -> Vec<String> {
    if of(wire, facts).is_none() {
        return Vec::new();
    }
    let root = root();
    let mut to = Setter {
        root: root.as_path(),
        what: Owned::PodInterfaces,
        repairs,
    };
    let ipv6 = wire.ips.iter().any(IpAddr::is_ipv6);
    let settings = sysctl::of_host(&wire.name, ipv6).into_iter();
    let set = settings.map(|(key, value)| to.set(&key, value));
    set.filter_map(Result::err).collect()
}

/// The link of a pod, if it is still the one that has the name.
fn of<'a>(wire: &Wire, facts: &'a Facts) -> Option<&'a Interface> {
    let there = facts.interface(wire.index);
    there.filter(|link| link.name == wire.name)
}

/// In the order in which they can be made.
fn missing(
    wire: &Wire,
    wires: &[Wire],
    facts: &Facts,
    neighbours: &Neighbours,
) -> Vec<(Owned, Request)> {
    let Some(link) = of(wire, facts) else {
        return Vec::new(); // The collector of leaks sees to it.
    };
    let mut requests = Vec::new();
    if link.mac != HOST_MAC {
        let request = veth::set_address(wire.index, HOST_MAC);
        requests.push((Owned::PodInterfaces, request));
    }
    if !link.up {
        let request = Request {
            what: "the state up".to_owned(),
            ..veth::set_up(wire.index, None)
        };
        requests.push((Owned::PodInterfaces, request));
    }
    let gateway = IpAddr::from(GATEWAY6);
    if wire.ips.iter().any(IpAddr::is_ipv6) && !link.has(gateway) {
        let request = addresses::add(wire.index, gateway, 64);
        requests.push((Owned::PodGateways, request));
    }
    if wire.ips.iter().any(IpAddr::is_ipv4) && !neighbours.answered.contains(&wire.index) {
        let request = addresses::proxy(wire.index, GATEWAY4.into());
        requests.push((Owned::PodGateways, request));
    }
    for &ip in &wire.ips {
        if !neighbours
            .permanent
            .contains(&(wire.index, ip, wire.pod_mac.to_vec()))
        {
            let request = addresses::neighbour(wire.index, ip, wire.pod_mac);
            requests.push((Owned::PodNeighbours, request));
        }
        if !leads_to_its_pod(ip, wires, facts) {
            let request = addresses::route_on_link(wire.index, ip, Stand::MAIN);
            requests.push((Owned::PodRoutes, request));
        }
    }
    for (_, request) in &mut requests {
        request.what = format!("{} on {}", request.what, wire.name);
    }
    requests
}

/// Whether an address is led to a pod that has it: two records may name one for a while.
fn leads_to_its_pod(ip: IpAddr, wires: &[Wire], facts: &Facts) -> bool {
    let to = IpNetwork::from(ip);
    let mut routes = facts.routing.main.iter().filter(|route| route.to == to);
    routes.any(|route| {
        let mut pods = wires.iter().filter(|wire| wire.ips.contains(&ip));
        route.way.gateway.is_none() && pods.any(|pod| pod.index == route.way.index)
    })
}
