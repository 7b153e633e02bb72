//! Addresses that are local by a route alone, or on links that carry nothing.

use std::net::{IpAddr, SocketAddr};

use weir_tests::world::ask_tcp;

use super::lab::{HOST_PORT, Lab, NODE_PORT};

/// However many they are.
#[test]
fn addresses_that_are_local_by_a_route_serve() {
    let lab = Lab::start("local", &[]);
    let (node, outside) = (lab.node(), lab.cluster.world().outside());
    let inside = [
        ("192.0.2.0/28", "192.0.2.5"),
        ("fd77::/124", "fd77::5"),
        ("198.18.0.0/15", "198.19.254.1"),
        ("fd78::/64", "fd78::ffff:0:1"),
    ];
    let way = |range: &str| {
        let [v4, v6] = node.addresses();
        if range.contains(':') {
            ("-6", v6.to_string())
        } else {
            ("-4", v4.to_string())
        }
    };
    for (range, _) in inside {
        let (family, via) = way(range);
        node.run(&["ip", family, "route", "add", "local", range, "dev", "lo"])
            .unwrap();
        outside
            .run(&["ip", family, "route", "add", range, "via", &via])
            .unwrap();
    }
    let host = node.outsider().unwrap();
    for (_, ip) in inside {
        let ip: IpAddr = ip.parse().unwrap();
        for place in [outside, &lab.near, &host] {
            lab.answers(place, SocketAddr::new(ip, NODE_PORT), &["far", "near"]);
            lab.answers(place, SocketAddr::new(ip, HOST_PORT), &["web"]);
        }
    }
    // What the machine has no more is nobody's.
    for (range, ip) in inside {
        let (family, _) = way(range);
        node.run(&["ip", family, "route", "del", "local", range, "dev", "lo"])
            .unwrap();
        let at = SocketAddr::new(ip.parse().unwrap(), NODE_PORT);
        let gone = || ask_tcp(outside, at).is_err().then_some(());
        lab.cluster.eventually("nobody to answer", gone).unwrap();
    }
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
