//! What says that another node relayed it, and is not from one, or not from outside.

use std::net::{IpAddr, SocketAddr};

use proxy_common::tunnel::{NETWORK_DIRECT, NETWORK_RELAYED};
use serde_json::json;
use weir_tests::{
    vxlan::{VNI, received, send, vxlan},
    world::{cluster::POD_PORT, until},
};

use super::bed::{Bed, PATIENCE, vips};

#[test]
fn only_nodes_relay_and_only_what_comes_from_outside() {
    let mut bed = Bed::on_link("forged", "tunnel", &[]);
    // In place of the server, a socket that counts.
    bed.servers.clear();
    let at = SocketAddr::new(bed.far.addresses()[0], POD_PORT);
    let socket = bed.far.udp(at).unwrap();
    bed.service(&json!({}));
    let [vip, _] = vips();
    let client: IpAddr = "203.0.113.9".parse().unwrap();
    let [node, ..] = bed.cluster.node(0).addresses();
    let [far, ..] = bed.cluster.node(1).addresses();
    let relayed = VNI ^ NETWORK_RELAYED;
    let sender = bed.cluster.node(0);
    // The Service is known, and what the tunnel is for arrives, in either way.
    until("a packet that was relayed", PATIENCE, || {
        send(sender, node, far, &vxlan(relayed, client, vip));
        Ok((received(&socket) > 0).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
    received(&socket);
    send(
        sender,
        node,
        far,
        &vxlan(relayed ^ NETWORK_DIRECT, client, vip),
    );
    until("one to be answered directly", PATIENCE, || {
        Ok((received(&socket) == 1).then_some(()))
    })
    .unwrap();
    // Who is no node relays nothing.
    let before = bed.dropped(1, "not-a-peer");
    send(
        bed.outside(),
        bed.clients[0],
        far,
        &vxlan(relayed, client, vip),
    );
    // Nor does a node what comes from a node or a pod, or by another network.
    let third = bed.cluster.node(2).addresses()[0];
    for from in [
        node,
        third,
        "10.244.1.9".parse().unwrap(),
        "10.244.3.9".parse().unwrap(),
    ] {
        send(sender, node, far, &vxlan(relayed, from, vip));
    }
    for network in [VNI ^ NETWORK_DIRECT, relayed ^ 1, VNI ^ 1] {
        send(sender, node, far, &vxlan(network, client, vip));
    }
    until("all of them to be dropped", PATIENCE, || {
        Ok((bed.dropped(1, "not-a-peer") == before + 8).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
    // What is said to come from the node itself, or a pod of it, is forged; what is for nobody goes nowhere.
    let spoofed = bed.dropped(1, "spoofed-source");
    for from in [far, at.ip()] {
        send(sender, node, far, &vxlan(relayed, from, vip));
    }
    let astray = bed.dropped(1, "relay-astray");
    let nobody = SocketAddr::new("203.0.113.80".parse().unwrap(), 80);
    for to in [nobody, SocketAddr::new(vip.ip(), 81), at] {
        send(sender, node, far, &vxlan(relayed, client, to));
    }
    until("all of them to be dropped", PATIENCE, || {
        let spoofed = bed.dropped(1, "spoofed-source") - spoofed;
        let astray = bed.dropped(1, "relay-astray") - astray;
        Ok(((spoofed, astray) == (2, 3)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
    assert_eq!(received(&socket), 0);
}
