//! What says that it comes by the tunnel, and does not.

use std::net::{IpAddr, SocketAddr};

use weir_tests::{
    vxlan::{VNI, received, send, vxlan},
    world::until,
};

use super::bed::{Bed, Mode, PATIENCE, PORT};

const OVER: [Mode; 2] = [&[], &["--tunnel-underlay", "ipv6"]];

/// By family of the underlay: the address of a node.
fn end(bed: &Bed, mode: Mode, node: usize) -> IpAddr {
    bed.cluster.node(node).addresses()[usize::from(!mode.is_empty())]
}

impl Bed {
    /// `count` packets of these are dropped by the second node, by name.
    fn drops(&self, before: u64, count: u64) {
        until("forged packets to be dropped", PATIENCE, || {
            Ok((self.dropped(1, "not-a-peer") >= before + count).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
    }
}

#[test]
fn only_the_node_that_has_the_senders_address_may_send() {
    for mode in OVER {
        let bed = Bed::start("forged", mode, &[]);
        let pod = bed.far.addresses()[0];
        let to = SocketAddr::new(pod, PORT + 1);
        let socket = bed.far.udp(to).unwrap();
        let near = bed.near.addresses()[0];
        let good = vxlan(VNI, near, to);
        let before = bed.dropped(1, "not-a-peer");
        // From the router, which is no node.
        let router = bed.cluster.world().outside();
        let family = usize::from(!mode.is_empty());
        let own = [
            "172.30.0.1".parse::<IpAddr>().unwrap(),
            "fd30::1".parse().unwrap(),
        ][family];
        send(router, own, end(&bed, mode, 1), &good);
        bed.drops(before, 1);
        // From a node, for somebody that it does not have: another node's pod, the other node itself, nobody.
        let node = bed.node();
        let own = node.addresses()[family];
        let others = [
            pod,
            bed.cluster.node(1).addresses()[0],
            "192.0.2.1".parse().unwrap(),
        ];
        for from in others {
            send(node, own, end(&bed, mode, 1), &vxlan(VNI, from, to));
        }
        send(node, own, end(&bed, mode, 1), &vxlan(VNI + 1, near, to));
        bed.drops(before, 5);
        assert_eq!(received(&socket), 0);
        // The same from the node that has the sender is what the tunnel is for.
        send(node, own, end(&bed, mode, 1), &good);
        until("a packet of a peer", PATIENCE, || {
            Ok((received(&socket) == 1).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
    }
}

/// Whatever a pod sends to the port of a tunnel is not taken out of it: to its own node, to another, or in the node's name.
#[test]
fn a_pods_packet_to_the_port_is_no_tunnel_packet() {
    for mode in OVER {
        let bed = Bed::start("podport", mode, &[]);
        let far = bed.far.addresses()[0];
        let to = SocketAddr::new(far, PORT + 1);
        let socket = bed.far.udp(to).unwrap();
        let here = SocketAddr::new(bed.other.addresses()[0], PORT + 1);
        let own = bed.other.udp(here).unwrap();
        let family = usize::from(!mode.is_empty());
        let pod = bed.near.addresses()[family];
        let before = bed.dropped(1, "not-a-peer");
        let near = bed.near.addresses()[0];
        for node in bed.cluster.node(1).addresses() {
            if node.is_ipv4() == pod.is_ipv4() {
                send(&bed.near, pod, node, &vxlan(VNI, near, to));
                send(
                    &bed.near,
                    pod,
                    node,
                    &vxlan(VNI, bed.node().addresses()[0], to),
                );
            }
        }
        bed.drops(before, 2);
        let before = bed.dropped(0, "not-a-peer");
        send(&bed.near, pod, end(&bed, mode, 0), &vxlan(VNI, far, here));
        until("the pod's own node to drop it", PATIENCE, || {
            Ok((bed.dropped(0, "not-a-peer") > before).then_some(()))
        })
        .unwrap();
        // An address that is no node's for the cluster, but may be one: it would go in the node's name.
        let outside: IpAddr = ["203.0.113.77", "2001:db8:113::77"][family]
            .parse()
            .unwrap();
        send(&bed.near, pod, outside, &vxlan(VNI, near, to));
        until("masquerade to refuse it", PATIENCE, || {
            Ok((bed.dropped(0, "tunnel-port") > 0).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
        assert_eq!((received(&socket), received(&own)), (0, 0));
    }
}
