//! A node with 10 000 Services, of which some are asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use aya::EbpfLoader;
use proxy_agent::datapath::{capacities::Capacities, object::OBJECT};
use proxy_common::{
    address::TCP,
    frontends::{
        FLAG_CLUSTER_IP, FLAG_DIRECT, FLAG_LOAD_BALANCER, FLAG_NODE_PORT, FLAG_RELAYED,
        FLAG_SOURCES,
    },
};
use weir_tests::packets::{Bench, FAMILIES, Plan, V4, V6};

/// Services in the maps.
const SERVICES: u32 = 10_000;
/// More flows than are begun.
const FLOWS: u32 = 1 << 22;
/// Of a Service that is asked: each takes a flow from each of the node's ports.
const BACKENDS: u16 = 250;
/// Places of Maglev tables: the usual number.
const PLACES: u16 = 16_381;
/// The length of a packet for which the tunnel has room.
const ROOM: u32 = 1450;
/// Another node.
const PEER: &str = "192.0.2.77";

/// Node port whose backend is on another node.
pub(crate) const FAR: u16 = 30080;
/// As `FAR`, relayed there for direct server return.
pub(crate) const DIRECT: u16 = 30081;
/// Load balancer's port that only clients of certain ranges may use.
pub(crate) const CLOSED: u16 = 443;

/// The load balancer's address.
pub(crate) fn balanced(plan: &Plan) -> IpAddr {
    if plan.is_ipv6() {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1))
    } else {
        IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))
    }
}

/// The node, at whose link XDP is.
pub(crate) fn prepare() -> Result<Bench> {
    let capacities = Capacities::default();
    let mut loader = EbpfLoader::new();
    for (map, entries) in capacities.by_map() {
        loader.map_max_entries(map, entries);
    }
    for map in ["FLOWS4", "FLOWS6"] {
        loader.map_max_entries(map, FLOWS);
    }
    for map in ["FLOW_INDEX4", "FLOW_INDEX6"] {
        loader.map_max_entries(map, 2 * FLOWS + 2 * FLOWS.div_ceil(8));
    }
    loader.override_global("FLOW_SLOTS", &FLOWS, true);
    let mut bench = Bench::of(OBJECT, &mut loader)?;
    bench.source_ports(10_000, 60_000)?;
    bench.link("net0", [V4.node, V6.node])?;
    bench.relay(ROOM)?;
    bench.ip(&format!(
        "neighbour replace {PEER} lladdr 02:00:00:00:00:77 dev net0\n"
    ))?;
    for plan in FAMILIES {
        serve(&mut bench, &plan)?;
    }
    Ok(bench)
}

fn serve(bench: &mut Bench, plan: &Plan) -> Result<()> {
    let first = if plan.is_ipv6() { 20_001 } else { 1 };
    let any = |port| {
        let any = if plan.is_ipv6() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        SocketAddr::new(any, port)
    };
    let bits = if plan.is_ipv6() { 64 } else { 24 };
    bench.behind(plan.remote_pod, bits, PEER.parse()?, 0)?;
    let direct = FLAG_NODE_PORT | FLAG_RELAYED | FLAG_DIRECT;
    let backends: Vec<SocketAddr> = (0..BACKENDS)
        .map(|number| plan.remote_pod(8000 + number))
        .collect();
    let closed = SocketAddr::new(balanced(plan), CLOSED);
    for (id, at, flags) in [
        (first, any(FAR), FLAG_NODE_PORT),
        (first + 1, any(DIRECT), direct),
        (first + 2, closed, FLAG_LOAD_BALANCER | FLAG_SOURCES),
    ] {
        bench.service(id, at, TCP, &backends, flags)?;
        bench.lead_to_table(id, at, TCP, &backends, PLACES)?;
    }
    let ranges = (0..=255).map(|part| format!("203.0.{part}.0/24").parse());
    bench.serve_only(first + 2, &ranges.collect::<Result<Vec<_>, _>>()?)?;
    for number in 3..SERVICES {
        let [_, _, a, b] = number.to_be_bytes();
        let vip = if plan.is_ipv6() {
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0x97, 0, 0, 0, 0, a.into(), b.into()))
        } else {
            IpAddr::V4(Ipv4Addr::new(10, 97, a, b))
        };
        let at = SocketAddr::new(vip, 80);
        bench.service(first + number, at, TCP, &backends[..1], FLAG_CLUSTER_IP)?;
    }
    Ok(())
}
