//! The ways of a packet through the programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use proxy_common::address::{TCP, UDP};
use weir_tests::packets::{Bench, FAMILIES, Hook, Plan};

/// Where pods listen.
pub(crate) const LISTENED: u16 = 80;
/// Where the Services' backends listen.
pub(crate) const SERVED: u16 = 8080;
/// First port of clients.
pub(crate) const CLIENTS: u16 = 2000;

/// `NodePort` whose backend is a pod of this node.
const NEAR: u16 = 30_000;
/// First of the `NodePort`s whose backends are elsewhere: the node has so many ports towards each backend only.
const FAR: u16 = 30_001;
/// Clients' ports for each of those.
const SHARE: u16 = 500;

/// A way of packets: where those of the client and of the server are put in, and whom the client asks for. What the
/// server sees is what comes out.
pub(crate) struct Way {
    /// What the rows are called.
    pub(crate) name: &'static str,
    /// TCP, UDP.
    pub(crate) protocols: &'static [u8],
    /// Where the client's packets are put in.
    pub(crate) forth: Hook,
    /// Where the server's packets are put in.
    pub(crate) back: Hook,
    /// Client's port to client and server, as the client sees them.
    pub(crate) asked: fn(&Plan, u16) -> (SocketAddr, SocketAddr),
}

const BOTH: &[u8] = &[TCP, UDP];

pub(crate) const WAYS: [Way; 8] = [
    Way {
        name: "pod to pod, one node",
        protocols: BOTH,
        forth: Hook::FromPod,
        back: Hook::FromNeighbour,
        asked: |plan, port| (plan.pod(port), plan.neighbour(LISTENED)),
    },
    Way {
        name: "pod to pod, away",
        protocols: &[TCP],
        forth: Hook::FromPod,
        back: Hook::FromNet,
        asked: |plan, port| (plan.pod(port), plan.remote_pod(LISTENED)),
    },
    Way {
        name: "pod to pod, from away",
        protocols: &[TCP],
        forth: Hook::FromNet,
        back: Hook::FromPod,
        asked: |plan, port| (plan.remote_pod(port), plan.pod(LISTENED)),
    },
    Way {
        name: "Service, one node",
        protocols: BOTH,
        forth: Hook::FromPod,
        back: Hook::FromNeighbour,
        asked: |plan, port| (plan.pod(port), plan.vip(1)),
    },
    Way {
        name: "Service, away",
        protocols: BOTH,
        forth: Hook::FromPod,
        back: Hook::FromNet,
        asked: |plan, port| (plan.pod(port), plan.vip(2)),
    },
    Way {
        name: "NodePort, one node",
        protocols: BOTH,
        forth: Hook::FromNet,
        back: Hook::FromNeighbour,
        asked: |plan, port| (plan.outside(port), plan.node(NEAR)),
    },
    Way {
        name: "NodePort, away",
        protocols: BOTH,
        forth: Hook::FromNet,
        back: Hook::FromNet,
        asked: |plan, port| (plan.outside(port), plan.node(FAR + share(port))),
    },
    Way {
        name: "node itself, uplink",
        protocols: &[TCP],
        forth: Hook::ToNet,
        back: Hook::FromNet,
        asked: |plan, port| (plan.node(port), plan.outside(LISTENED)),
    },
];

/// Which `NodePort` a client's port asks for.
const fn share(port: u16) -> u16 {
    port.saturating_sub(CLIENTS) / SHARE
}

/// The Services that the ways ask for.
pub(crate) fn serve(bench: &mut Bench) -> Result<()> {
    let mut id = 0;
    for plan in FAMILIES {
        let any: IpAddr = if plan.is_ipv6() {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        for protocol in [TCP, UDP] {
            let mut service = |at, backend| {
                id += 1;
                bench.service(id, at, protocol, &[backend], 0)
            };
            service(plan.vip(1), plan.neighbour(SERVED))?;
            service(plan.vip(2), plan.remote_pod(SERVED))?;
            service(SocketAddr::new(any, NEAR), plan.neighbour(SERVED))?;
            for number in 0..=share(u16::MAX) {
                let node_port = SocketAddr::new(any, FAR + number);
                service(node_port, plan.remote_pod(SERVED + 1 + number))?;
            }
        }
    }
    Ok(())
}
