//! `weir_host` and `weir_net`: the way of the host's own packets to Services where no socket hook has chosen a
//! backend (kernel sockets, processes outside of the agent's cgroup, socket balancing turned off).
//!
//! Routes lead Services' addresses to `weir_host`, where the program `from_host` translates each packet and sends
//! it on; the other end of the pair only gives it a carrier, and receives nothing. The routes give such packets the
//! node's own address as source. Answers come back as if `weir_host` had received them, so that `rp_filter` is
//! content, strict or loose, and `accept_local` is not needed. A server of the host itself sees a client at
//! `169.254.87.2` or `fd57:6569:7200::2`, which is routed to `weir_host` too: to the node's own address it would
//! answer over `lo`.

pub mod link;
pub mod program;
pub mod ranges;
pub mod routes;

use std::{collections::BTreeSet, net::IpAddr};

use cni_plugin::wiring::route::Way;
use ipnetwork::IpNetwork;
pub use ranges::{Published, Ranges};

use super::{
    detours,
    facts::Facts,
    routes::{Brought, RouteTable, Routes, TO_HOST_DEVICE},
};

/// What leads to `weir_host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leads {
    /// The ranges of Services' addresses.
    pub ranges: Ranges,
    /// Routes, also those to the addresses that stand for the host.
    pub routes: Routes,
}

impl Leads {
    /// To these ranges, from these addresses as far as the machine has them.
    pub fn of(ranges: Ranges, index: u32, internal: &[IpAddr], facts: &Facts) -> Self {
        let own: BTreeSet<IpAddr> = facts.addresses().collect();
        let source = |ipv4: bool| {
            let mut ours = internal.iter().filter(|ip| own.contains(ip));
            ours.find(|ip| ip.is_ipv4() == ipv4).copied()
        };
        let mut routes = Routes::new();
        for ipv4 in [true, false] {
            let way = Way {
                index,
                gateway: None,
                source: source(ipv4),
                mtu: None,
            };
            routes.insert(IpNetwork::from(link::peer(ipv4)), way);
        }
        for range in &ranges.ranges {
            let ipv4 = range.is_ipv4();
            let way = Way {
                index,
                gateway: Some(link::peer(ipv4)),
                source: source(ipv4),
                mtu: None,
            };
            routes.insert(*range, way);
        }
        Self { ranges, routes }
    }
}

/// What came of setting the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// What came of the routes.
    pub brought: Brought,
    /// Where Services' addresses are led elsewhere by someone else, whose routes stay.
    pub elsewhere: Vec<String>,
}

/// Sets the routes. Those of former ranges go only if the ranges are `complete`.
pub fn lead(table: &mut RouteTable, leads: &Leads, facts: &Facts, complete: bool) -> Led {
    let present = match table.read(TO_HOST_DEVICE) {
        Ok(present) => present,
        Err(e) => {
            return Led {
                brought: Brought::failed(&e),
                elsewhere: Vec::new(),
            };
        }
    };
    let (plan, mut elsewhere) = routes::plan(&leads.routes, &present, complete);
    let brought = table.apply(TO_HOST_DEVICE, plan);
    let taken = detours::rules(facts, &leads.ranges.ranges).into_iter();
    elsewhere.extend(taken.map(|detour| detour.text));
    for ip in facts.addresses() {
        if leads.ranges.ranges.iter().any(|range| range.contains(ip)) {
            elsewhere.push(format!("{ip} is an address of this machine"));
        }
    }
    Led { brought, elsewhere }
}
