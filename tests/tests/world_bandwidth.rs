//! Limits of bandwidth between real sockets: what gets through, from the first byte, on every way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "world_bandwidth/lab.rs"]
mod lab;

use std::net::SocketAddr;

use lab::{Lab, PORT, annotations};
use weir_tests::{
    in_every_mode,
    modes::Mode,
    world::{Node, Place},
};

in_every_mode![what_a_pod_is_sent_is_limited, what_a_pod_sends_is_limited];

fn what_a_pod_is_sent_is_limited(mode: Mode) {
    let lab = Lab::start("ingress", mode);
    let limited = lab.limited("limited", &annotations(Some("20M"), None));
    let service = lab.service(&limited);
    let by_service = service.map(|ip| SocketAddr::new(ip, 80));
    let outside = lab.cluster.world().outside();
    let ways: [(&Place, [SocketAddr; 2]); 5] = [
        (&lab.near, limited.at(PORT)),
        (&lab.far, limited.at(PORT)),
        (outside, limited.at(PORT)),
        (lab.cluster.node(0), limited.at(PORT)),
        (&lab.near, by_service),
    ];
    for (from, all) in ways {
        lab.is_limited(from, all, &limited);
    }
    // Others are not.
    for to in lab.near.at(PORT) {
        lab.is_free(&lab.far, to, &lab.near);
    }
}

fn what_a_pod_sends_is_limited(mode: Mode) {
    let lab = Lab::start("egress", mode);
    let limited = lab.limited("limited", &annotations(None, Some("20M")));
    let node: &Node = lab.cluster.node(0);
    let service = lab.service(&lab.near).map(|ip| SocketAddr::new(ip, 80));
    let outside = lab.cluster.world().outside();
    let world = lab.outside();
    let host = node.addresses().map(|ip| SocketAddr::new(ip, PORT));
    let ways: [(&Place, [SocketAddr; 2]); 5] = [
        (&lab.near, lab.near.at(PORT)),
        (&lab.far, lab.far.at(PORT)),
        (outside, world),
        (node, host),
        (&lab.near, service),
    ];
    for (at, all) in ways {
        lab.is_limited(&limited, all, at);
    }
    // What it is sent is not.
    for to in limited.at(PORT) {
        lab.is_free(&lab.near, to, &limited);
    }
}

#[test]
fn a_pod_that_asks_itself_by_a_service_is_limited() {
    let lab = Lab::start("hairpin", &["--socket-balancing", "false"]);
    let limited = lab.limited("limited", &annotations(Some("20M"), Some("40M")));
    let service = lab.service(&limited).map(|ip| SocketAddr::new(ip, 80));
    lab.is_limited(&limited, service, &limited);
}
