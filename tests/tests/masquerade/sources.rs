//! A node with several networks on a link, and several links: what leaves bears the source that its route has, as what the node itself
//! sends.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use weir_tests::world::{Network, Place, Pod, Server, ask_tcp, until};

use super::bed::{Bed, MODES, Mode, PORT};

const PATIENCE: Duration = Duration::from_secs(20);

/// Where a destination is, by family.
fn destination(number: u8, last: u8) -> [IpAddr; 2] {
    [
        format!("198.18.{number}.{last}").parse().unwrap(),
        format!("2001:db8:18:{number}::{last:x}").parse().unwrap(),
    ]
}

/// The network of a destination, by family; or the half of it that ends with it.
fn range(number: u8, half: bool) -> [String; 2] {
    if half {
        return [
            format!("198.18.{number}.128/25"),
            format!("2001:db8:18:{number}::80/121"),
        ];
    }
    [
        format!("198.18.{number}.0/24"),
        format!("2001:db8:18:{number}::/64"),
    ]
}

/// A node with two networks on each of two links, by number; the fabric has all.
struct Networks {
    bed: Bed,
    own: [[IpAddr; 2]; 4],
}

impl Networks {
    fn start(mode: Mode) -> Self {
        let bed = Bed::start("sources", mode, &[]);
        let node = bed.node();
        let second = node.nic("eth1", 1).unwrap();
        let own = [
            node.addresses(),
            second,
            node.address("eth0", Network { number: 2 }).unwrap(),
            node.address("eth1", Network { number: 3 }).unwrap(),
        ];
        let outside = bed.cluster.world().outside();
        for (number, bridge) in [(2, "br0"), (3, "br1")] {
            let [v4, v6] = Network { number }.fabric();
            let add =
                format!("addr add {v4}/24 dev {bridge}\naddr add {v6}/64 dev {bridge} nodad\n");
            outside.batch(&add).unwrap();
        }
        Self { bed, own }
    }

    /// Leads to a network by the router in one of the networks; `source`: in whose network the source is that the route prefers.
    fn lead(&self, to: &[String; 2], by: u8, source: Option<u8>) {
        let link = if by.is_multiple_of(2) { "eth0" } else { "eth1" };
        let gateways = Network { number: by }.fabric();
        for (family, (to, gateway)) in to.iter().zip(gateways).enumerate() {
            let source = source.map_or_else(String::new, |network| {
                format!(" src {}", self.own[usize::from(network)][family])
            });
            let route = format!("route replace {to} via {gateway} dev {link}{source}\n");
            self.bed.node().batch(&route).unwrap();
        }
    }

    /// What is there sees a pod as the node's address in this network.
    fn is_seen(&self, at: [IpAddr; 2], network: u8, what: &str) {
        let outside = self.bed.cluster.world().outside();
        for (family, ip) in at.into_iter().enumerate() {
            let own = self.own[usize::from(network)][family];
            let at = SocketAddr::new(ip, PORT);
            let server = Server::tcp(outside, at, "there").unwrap();
            let seen = |from: &Place| -> Option<IpAddr> {
                ask_tcp(from, at).ok()?;
                Some(server.peers().last()?.ip())
            };
            // Routes that have just changed are followed within a second.
            let pod: &Pod = &self.bed.pod;
            until(&format!("{what}: {at} to see {own}"), PATIENCE, || {
                Ok(seen(pod).filter(|seen| *seen == own))
            })
            .unwrap_or_else(|error| panic!("{error:#}: {:?}\n{}", server.peers(), self.bed.said()));
            // Of several addresses of IPv6 the kernel asks neither routers nor networks.
            if ip.is_ipv4() {
                assert_eq!(seen(self.bed.node()), Some(own), "{what}: the node itself");
            }
        }
    }
}

#[test]
fn the_source_is_that_of_the_route() {
    for mode in MODES {
        let networks = Networks::start(mode);
        let outside = networks.bed.cluster.world().outside();
        for number in 0..6 {
            for last in [1, 129] {
                let [v4, v6] = destination(number, last);
                let add = format!("addr add {v4}/32 dev lo\naddr add {v6}/128 dev lo nodad\n");
                outside.batch(&add).unwrap();
            }
        }
        // On the networks themselves.
        for number in 0..4 {
            let at = Network { number }.fabric();
            networks.is_seen(at, number, "a network");
        }
        // Behind a router of each.
        for number in 0..4 {
            networks.lead(&range(number, false), number, None);
            networks.is_seen(destination(number, 1), number, "a router");
        }
        // By what the route says, on the same link; within it another one that says nothing.
        networks.lead(&range(4, false), 0, Some(2));
        networks.lead(&range(4, true), 0, None);
        networks.is_seen(destination(4, 1), 2, "a preferred source");
        networks.is_seen(destination(4, 129), 0, "a part of it");
        networks.lead(&range(5, false), 3, Some(1));
        networks.is_seen(destination(5, 1), 1, "a preferred source of the other link");
        // It changes.
        networks.lead(&range(4, false), 0, None);
        networks.lead(&range(4, true), 1, Some(3));
        networks.lead(&range(5, false), 0, Some(2));
        networks.is_seen(destination(4, 1), 0, "changed");
        networks.is_seen(destination(4, 129), 3, "changed");
        networks.is_seen(destination(5, 1), 2, "changed");
    }
}
