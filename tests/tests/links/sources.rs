//! A link with more than one address: what leaves by it in the node's name has the one that the route wants.

use std::net::{IpAddr, SocketAddr};

use proxy_agent::datapath::Table as _;
use proxy_common::node::LINK_SOURCES_BY_ROUTE;
use serde_json::json;
use weir_tests::{
    datapath::reader,
    in_every_mode,
    modes::Mode,
    world::{
        Network, Place, Server, ask_tcp, ask_udp,
        cluster::{POD_PORT, SERVICE_PORT, SYNC_LIMIT},
        until,
    },
};

use super::lab::Lab;

in_every_mode![the_route_says_who_asks];

const NETWORK: Network = Network { number: 9 };
/// Behind a router of the first network, by a route that names the address of the second one.
const BEHIND: [&str; 2] = ["203.0.113.77", "2001:db8:77::1"];
const ASKED_BY_PORT: u16 = 30090;

/// Servers outside of the cluster at both addresses of each pair.
fn serve(outside: &Place, at: [IpAddr; 2]) -> Vec<Server> {
    let at = at.map(|ip| SocketAddr::new(ip, POD_PORT));
    let all = at.into_iter().flat_map(|at| {
        [
            Server::tcp(outside, at, "outside").unwrap(),
            Server::udp(outside, at, "outside").unwrap(),
        ]
    });
    all.collect()
}

/// Both protocols answer, once the node knows of what has changed.
fn asks(place: &Place, to: SocketAddr) {
    let what = format!("an answer of {to}");
    until(&what, SYNC_LIMIT, || Ok(Some(ask_tcp(place, to)?))).unwrap();
    until(&what, SYNC_LIMIT, || Ok(Some(ask_udp(place, to, b"?")?))).unwrap();
}

/// Who asked, since the last time.
fn seen(servers: &[Server], known: &mut usize) -> Vec<IpAddr> {
    let all = servers.iter().flat_map(Server::peers);
    let all: Vec<IpAddr> = all.map(|peer| peer.ip()).collect();
    let new = all.len() - *known;
    *known = all.len();
    assert!(new > 0, "nobody asked");
    all
}

fn the_route_says_who_asks(mode: Mode) {
    let lab = Lab::start("sources", mode);
    let (node, outside) = (lab.node(), lab.cluster.world().outside());
    let [v4, v6] = NETWORK.fabric();
    outside
        .batch(&format!(
            "addr add {v4}/24 dev br0\naddr add {v6}/64 dev br0 nodad\n\
             addr add {}/32 dev lo\naddr add {}/128 dev lo nodad\n",
            BEHIND[0], BEHIND[1]
        ))
        .unwrap();
    let ours = node.address("eth0", NETWORK).unwrap();
    node.batch(&format!(
        "route add {} via 172.30.0.1 src {}\nroute add {} via fd30::1 src {}\n",
        BEHIND[0], ours[0], BEHIND[1], ours[1]
    ))
    .unwrap();
    // An address that has just come is known a moment later.
    let known = || {
        let links = reader(node).unwrap().maps().links.entries().unwrap();
        let mut flags = links.into_iter().map(|(_, link)| link.flags);
        flags
            .any(|flags| flags & LINK_SOURCES_BY_ROUTE != 0)
            .then_some(())
    };
    lab.cluster
        .eventually("the link's second address to be known", known)
        .unwrap();
    for (number, at) in [
        (90, NETWORK.fabric()),
        (91, BEHIND.map(|ip| ip.parse().unwrap())),
    ] {
        let servers = serve(outside, at);
        let name = format!("outside-{number}");
        let node_port = ASKED_BY_PORT + u16::from(number);
        let port = |name: &str| {
            json!({
                "name": name, "protocol": name.to_uppercase(), "port": SERVICE_PORT,
                "targetPort": POD_PORT, "nodePort": node_port,
            })
        };
        let more = json!({ "type": "NodePort", "ports": [port("tcp"), port("udp")] });
        let vips = lab.cluster.service(&name, number, &[], &more).unwrap();
        lab.cluster.endpoints_at(&name, &[(at, "none")]).unwrap();
        let mut known = 0;
        for (index, own) in ours.into_iter().enumerate() {
            // A pod by itself, by the Service, and somebody outside by the node's port.
            let by_port = SocketAddr::new(node.addresses()[index], node_port);
            for (place, to) in [
                (&*lab.near, SocketAddr::new(at[index], POD_PORT)),
                (&*lab.near, SocketAddr::new(vips[index], SERVICE_PORT)),
                (outside, by_port),
            ] {
                asks(place, to);
                let seen = seen(&servers, &mut known);
                let others: Vec<_> = seen
                    .iter()
                    .filter(|ip| ip.is_ipv4() == own.is_ipv4() && **ip != own)
                    .collect();
                assert!(others.is_empty(), "{to}: {others:?} in place of {own}");
            }
        }
    }
}
