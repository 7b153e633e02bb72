//! Asking, in every mode.

use std::net::SocketAddr;

use serde_json::json;
use weir_tests::world::{Server, cluster::POD_PORT};

use super::bed::{Bed, vips};

/// What of TCP and UDP reaches the pod in the client's name.
fn keeps(mode: &str) -> [bool; 2] {
    match mode {
        "snat" => [false, false],
        "hybrid" => [true, false],
        _ => [true, true],
    }
}

impl Bed {
    fn sees_clients(&self, mode: &str) {
        for (seen, kept) in self.seen().iter().zip(keeps(mode)) {
            let of_client = |ip: &std::net::IpAddr| self.clients.contains(ip);
            assert!(!seen.is_empty());
            assert!(
                seen.iter().all(|ip| of_client(ip) == kept),
                "{mode}: {seen:?}\n{}",
                self.said()
            );
        }
    }
}

#[test]
fn the_backend_sees_the_client_where_the_mode_keeps_it() {
    for forwarding in ["bpf", "stack"] {
        for mode in ["dsr", "tunnel", "hybrid", "snat"] {
            let bed = Bed::on_link("modes", mode, &["--forwarding", forwarding]);
            bed.service(&json!({}));
            bed.lead_to(0);
            for to in bed.node_ports(0).into_iter().chain(vips()) {
                bed.serves(to);
            }
            bed.sees_clients(mode);
        }
    }
}

/// The backend's node itself serves.
#[test]
fn a_backend_in_the_hosts_network_sees_the_client() {
    for forwarding in ["bpf", "stack"] {
        for mode in ["dsr", "tunnel"] {
            let mut bed = Bed::on_link("hostnet", mode, &["--forwarding", forwarding]);
            let node = bed.cluster.node(1);
            let at = node.addresses().map(|ip| SocketAddr::new(ip, POD_PORT));
            let servers = at.into_iter().flat_map(|at| {
                [
                    Server::tcp(node, at, "far").unwrap(),
                    Server::udp(node, at, "far").unwrap(),
                ]
            });
            bed.servers = servers.collect();
            bed.service(&json!({}));
            let at = [(node.addresses(), node.name())];
            bed.cluster.endpoints_at("far", &at).unwrap();
            for to in bed.node_ports(0) {
                bed.serves(to);
            }
            bed.sees_clients(mode);
        }
    }
}

#[test]
fn routers_that_know_nodes_only_carry_what_is_relayed() {
    for underlay in ["ipv4", "ipv6"] {
        let bed = Bed::routed("routed", "tunnel", &["--tunnel-underlay", underlay]);
        bed.service(&json!({}));
        for to in bed.node_ports(0) {
            bed.serves(to);
        }
        bed.sees_clients("tunnel");
        let strangers = bed.cluster.world().strangers().unwrap();
        assert_eq!(strangers, 0, "{}", bed.said());
    }
}
