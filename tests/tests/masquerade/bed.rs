//! Two nodes, two pods on the first, servers in the Internet.

use std::net::{IpAddr, SocketAddr};

use weir_tests::{
    datapath::drops,
    world::{Cluster, Internet, Node, Place, Pod, Server, Talk, ask_tcp, ask_udp},
};

/// Flags of the agent: past the stack, and through it.
pub(super) type Mode = &'static [&'static str];

pub(super) const MODES: [Mode; 2] = [&[], &["--forwarding", "stack"]];
/// Port of the servers.
pub(super) const PORT: u16 = 7000;
/// `node.sourcePorts`.
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 1024..=29999;

/// It.
pub(super) struct Bed {
    pub(super) pod: Pod,
    pub(super) other: Pod,
    servers: Vec<Server>,
    pub(super) internet: Internet,
    pub(super) cluster: Cluster,
}

impl Bed {
    pub(super) fn start(name: &str, mode: Mode, flags: &[&str]) -> Self {
        let flags = [&["--map-size", "small"], mode, flags].concat();
        Self::on(Cluster::start(name, &["a", "b"], &flags).unwrap())
    }

    pub(super) fn on(cluster: Cluster) -> Self {
        let internet = cluster.world().internet().unwrap();
        let servers = internet.at(PORT).into_iter().flat_map(|at| {
            [
                Server::tcp(internet.place(), at, "there").unwrap(),
                Server::udp(internet.place(), at, "there").unwrap(),
            ]
        });
        let servers = servers.collect();
        Self {
            pod: cluster.pod(0, "one").unwrap(),
            other: cluster.pod(0, "other").unwrap(),
            servers,
            internet,
            cluster,
        }
    }

    pub(super) fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    /// Asks by TCP and UDP.
    pub(super) fn asks(&self, place: &Place, to: SocketAddr) {
        let failed = |error| panic!("{to}: {error}\n{}", self.said());
        let answer = ask_tcp(place, to).unwrap_or_else(failed);
        assert_eq!((answer.name.as_str(), answer.peer), ("there", to));
        let answer = ask_udp(place, to, b"?").unwrap_or_else(failed);
        assert_eq!((answer.name.as_str(), answer.peer), ("there", to));
    }

    /// A connection that stays open.
    pub(super) fn talks(&self, place: &Place, to: SocketAddr) -> Talk {
        Talk::open(place, to).unwrap_or_else(|error| panic!("{to}: {error}\n{}", self.said()))
    }

    /// All that the servers have seen of this family.
    pub(super) fn seen(&self, ipv4: bool) -> Vec<SocketAddr> {
        let peers = self.servers.iter().flat_map(Server::peers);
        peers.filter(|peer| peer.is_ipv4() == ipv4).collect()
    }

    /// Everybody whom the servers have seen came from one of these addresses, and from a port for translation.
    pub(super) fn seen_only(&self, by: [IpAddr; 2]) {
        for (ipv4, by) in [true, false].into_iter().zip(by) {
            let peers = self.seen(ipv4);
            assert!(!peers.is_empty());
            for peer in peers {
                assert!(
                    peer.ip() == by && SOURCE_PORTS.contains(&peer.port()),
                    "{peer}"
                );
            }
        }
    }

    /// Nothing has come out with a pod's address.
    pub(super) fn is_tight(&self) {
        assert_eq!(
            self.internet.leaked().unwrap(),
            0,
            "packets with a pod's address"
        );
    }

    /// For a test that fails.
    pub(super) fn said(&self) -> String {
        let (drops, log) = (drops(self.node()), self.cluster.agent(0).log());
        let agent = self.cluster.agent(0);
        let flows = agent.proxyctl_verdict(&["dump", "conntrack", "-o", "wide", "--all"]);
        let last: Vec<&str> = log.lines().rev().take(8).collect();
        format!("dropped: {drops:?}\n{}\n{flows:?}", last.join("\n"))
    }
}
