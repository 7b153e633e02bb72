//! Who reaches whom.

use std::net::SocketAddr;

use weir_tests::world::{Server, set_tx_checksum, until};

use super::bed::{Bed, MODES, PATIENCE, PORT};

#[test]
fn pods_of_other_nodes_are_reached_with_full_packets() {
    for mode in MODES {
        let bed = Bed::start("pods", mode, &[]);
        for offload in [true, false] {
            set_tx_checksum(&bed.near, "eth0", offload).unwrap();
            set_tx_checksum(&bed.far, "eth0", offload).unwrap();
            for to in bed.far.at(PORT) {
                bed.asks(&bed.near, to, "far");
                bed.streams(&bed.near, to);
            }
            for to in bed.near.at(PORT) {
                bed.asks(&bed.far, to, "near");
                bed.streams(&bed.far, to);
            }
        }
        bed.is_tight();
    }
}

#[test]
fn pings_of_every_size_are_answered() {
    for mode in MODES {
        let bed = Bed::start("ping", mode, &[]);
        for to in bed.far.addresses() {
            let family = if to.is_ipv4() { "-4" } else { "-6" };
            let address = to.to_string();
            for size in ["56", "1372", "4000"] {
                let ping = [
                    "busybox", "ping", family, "-c", "2", "-W", "3", "-s", size, &address,
                ];
                // Of larger ones the first may be told that there is less room.
                until(&format!("{size} bytes to {to}"), PATIENCE, || {
                    let said = bed.near.run(&ping).unwrap_or_default();
                    Ok(said.contains("2 packets received").then_some(()))
                })
                .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
            }
        }
        bed.is_tight();
    }
}

/// The node's own processes, and pods that ask nodes: seen as who they are, over whichever stack.
#[test]
fn nodes_reach_pods_and_pods_reach_nodes() {
    for mode in MODES {
        let bed = Bed::start("nodes", mode, &[]);
        let node = bed.node();
        for (family, to) in bed.far.at(PORT).into_iter().enumerate() {
            bed.asks(node, to, "far");
            bed.streams(node, to);
            let own = node.addresses()[family];
            let at = SocketAddr::new(own, PORT);
            let servers = [
                Server::tcp(node, at, "node").unwrap(),
                Server::udp(node, at, "node").unwrap(),
            ];
            bed.asks(&bed.far, at, "node");
            bed.streams(&bed.far, at);
            let pod = bed.far.addresses()[family];
            for server in servers {
                assert!(server.peers().iter().all(|peer| peer.ip() == pod));
            }
        }
        bed.is_tight();
    }
}

#[test]
fn the_status_says_which_way_is_taken() {
    let bed = Bed::start("status", &[], &[]);
    let (_, status) = bed.cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
    let ways = status.lines().find(|line| line.starts_with("Ways"));
    assert!(
        ways.is_some_and(|line| line.contains("tunnel 2")),
        "{status}"
    );
    let dumped = bed.cluster.agent(0).proxyctl(&["dump", "tunnels"]).unwrap();
    for range in ["10.244.2.0/24", "fd00:244:2::/64", "172.30.0.12/32"] {
        assert!(dumped.contains(range), "{dumped}");
    }
}
