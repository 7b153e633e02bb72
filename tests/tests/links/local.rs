//! Addresses that are local by a route alone, or on links that carry nothing.

use std::net::{IpAddr, SocketAddr};

use super::lab::{HOST_PORT, Lab, NODE_PORT};

#[test]
fn addresses_that_are_local_by_a_route_serve() {
    let lab = Lab::start("local", &[]);
    let (node, outside) = (lab.node(), lab.cluster.world().outside());
    let addresses = node.addresses();
    let ranges = ["192.0.2.0/28", "fd77::/124"];
    let too_large = "198.18.0.0/15";
    for (range, via) in ranges.iter().zip(addresses) {
        let family = if via.is_ipv4() { "-4" } else { "-6" };
        node.run(&["ip", family, "route", "add", "local", range, "dev", "lo"])
            .unwrap();
        outside
            .run(&["ip", family, "route", "add", range, "via", &via.to_string()])
            .unwrap();
    }
    node.run(&["ip", "route", "add", "local", too_large, "dev", "lo"])
        .unwrap();
    let inside: [IpAddr; 2] = ["192.0.2.5", "fd77::5"].map(|ip| ip.parse().unwrap());
    for ip in inside {
        lab.answers(outside, SocketAddr::new(ip, NODE_PORT), &["far", "near"]);
        lab.answers(outside, SocketAddr::new(ip, HOST_PORT), &["web"]);
    }
    let note = format!("{too_large} is local by a route, but too large");
    lab.says(&note);
}

/// The host itself, without hooks, reaches what its own addresses serve.
#[test]
fn host_processes_without_hooks_reach_their_own_nodes_addresses() {
    for flags in [&[][..], &["--socket-balancing", "false"]] {
        let lab = Lab::start("own", flags);
        let node = lab.node();
        node.batch("addr add 203.0.113.10/32 dev lo\naddr add 2001:db8::10/128 dev lo nodad\n")
            .unwrap();
        let host = node.outsider().unwrap();
        for ip in node.addresses() {
            lab.answers(&host, SocketAddr::new(ip, NODE_PORT), &["far", "near"]);
            lab.answers(&host, SocketAddr::new(ip, HOST_PORT), &["web"]);
        }
        for ip in super::lab::BALANCER {
            let to = SocketAddr::new(ip.parse().unwrap(), 80);
            lab.answers(&host, to, &["far", "near"]);
        }
    }
}
