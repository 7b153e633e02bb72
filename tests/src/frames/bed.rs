//! A node with a pod that sends frames, another that serves, and a link to the outside.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    datapath::{drops, reader},
    link::LinkSocket,
    modes::Mode,
    packets::{Tcp, tcp, udp},
    served::{await_answer, serve},
    world::{
        Cluster, Node, Pod, Server,
        cluster::{POD_PORT, SERVICE_PORT},
        until,
    },
};
use proxy_agent::datapath::{Flows, Reader};
use serde_json::json;

/// Drop reason of frames that nobody may send.
pub const UNSUPPORTED: &str = "unsupported-frame";
/// Drop reason of packets from addresses that are not their senders'.
pub const SPOOFED: &str = "spoofed-source";
/// Port of the node that leads to the server (`NodePort`).
pub const NODE_PORT: u16 = 30080;
const PATIENCE: Duration = Duration::from_secs(10);
/// Frames that are sent before the counter is looked at: fewer than a queue holds (`net.core.netdev_max_backlog`).
const CHUNK: usize = 900;

/// The node and who is on it; ended in this order.
pub struct Bed {
    servers: Vec<Server>,
    /// The pod that sends frames.
    pub sender: Pod,
    /// The pod that serves.
    pub server: Pod,
    /// Another pod.
    pub neighbour: Pod,
    reader: Reader,
    service: [IpAddr; 2],
    cluster: Cluster,
}

impl Bed {
    /// Starts an agent in this mode, and waits until the server is reached from outside.
    pub fn start(mode: Mode) -> Self {
        let flags = [&["--map-size", "small"], mode].concat();
        let cluster = Cluster::start("frames", &["a"], &flags).unwrap();
        let node = cluster.node(0);
        // Nothing but the programs looks at sources.
        let quiet = "for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done";
        node.run(&["sh", "-c", quiet]).unwrap();
        let [sender, server, neighbour] =
            ["sender", "server", "neighbour"].map(|name| cluster.pod(0, name).unwrap());
        let ports = ["TCP", "UDP"].map(|protocol| {
            json!({
                "name": protocol.to_lowercase(), "protocol": protocol,
                "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": NODE_PORT,
            })
        });
        let wish = json!({ "type": "NodePort", "ports": ports });
        let service = cluster.service("web", 80, &[&server], &wish).unwrap();
        let servers = serve(&server).unwrap();
        for ip in node.addresses() {
            let to = SocketAddr::new(ip, NODE_PORT);
            await_answer(&cluster, cluster.world().outside(), to).unwrap();
        }
        Self {
            servers,
            sender,
            server,
            neighbour,
            reader: reader(node).unwrap(),
            service,
            cluster,
        }
    }

    /// Addresses of the Service that leads to the server.
    pub fn service(&self) -> [IpAddr; 2] {
        self.service
    }

    /// The node.
    pub fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    /// The link of the node, at its outer end.
    pub fn outside(&self) -> LinkSocket {
        LinkSocket::open(self.cluster.world().outside(), "port1").unwrap()
    }

    /// Addresses of the world outside.
    pub fn clients(&self) -> [IpAddr; 2] {
        ["172.30.0.1", "fd30::1"].map(|ip| ip.parse().unwrap())
    }

    /// Hardware address of the node's link.
    pub fn mac(&self) -> [u8; 6] {
        mac(&self
            .node()
            .run(&["cat", "/sys/class/net/eth0/address"])
            .unwrap())
    }

    /// Hardware address of the gateway of the pod that sends.
    pub fn gateway(&self) -> [u8; 6] {
        let neighbours = self
            .sender
            .run(&["ip", "neigh", "show", "to", "169.254.1.1"])
            .unwrap();
        let mut words = neighbours
            .split_whitespace()
            .skip_while(|word| *word != "lladdr");
        mac(words.nth(1).unwrap())
    }

    /// Whom frames go to: who is meant, another machine, the other pod, all, and many.
    pub fn macs(&self, own: [u8; 6]) -> [[u8; 6]; 6] {
        let pod = LinkSocket::open(&self.server, "eth0").unwrap().mac();
        [
            own,
            [2, 0, 0, 0, 0, 0x99],
            pod,
            [0xff; 6],
            [1, 0, 0x5e, 0, 0, 1],
            [0x33, 0x33, 0, 0, 0, 1],
        ]
    }

    /// Packets from an address outside, of both families, to the pod and to the node's port.
    pub fn from_outside(&self, sources: [IpAddr; 2], port: u16) -> Vec<Vec<u8>> {
        let targets = [self.server.addresses(), self.node().addresses()];
        let targets = targets.into_iter().zip([POD_PORT, NODE_PORT]);
        let pairs = targets.flat_map(|(ips, to)| sources.into_iter().zip(ips.map(|ip| (ip, to))));
        let both = pairs.flat_map(|(from, to)| {
            let (from, to) = ((from, port).into(), to.into());
            [udp(from, to, b"?"), tcp(from, to, Tcp::Syn, b"")]
        });
        both.collect()
    }

    /// Frames whose drops have this reason.
    pub fn counted(&self, reason: &'static str) -> Counted<'_> {
        Counted {
            bed: self,
            reason,
            sent: 0,
        }
    }

    /// What was dropped, by reason.
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        drops(self.node()).unwrap().into_iter().collect()
    }

    /// Whom the server has seen with this port.
    pub fn peers(&self, port: u16) -> Vec<SocketAddr> {
        let peers = self.servers.iter().flat_map(Server::peers);
        peers.filter(|peer| peer.port() == port).collect()
    }

    /// Whether the server has seen anybody with this port.
    pub fn has_arrived(&self, port: u16) -> bool {
        !self.peers(port).is_empty()
    }

    /// Waits until datagrams of both families with this source port are at the server.
    pub fn await_arrival(&self, port: u16) {
        until("the datagrams to arrive", PATIENCE, || {
            let peers = self.peers(port);
            let has = |is_ipv6| peers.iter().any(|peer| peer.is_ipv6() == is_ipv6);
            Ok((has(false) && has(true)).then_some(()))
        })
        .unwrap();
    }

    /// How many flows have a beginner at this port.
    pub fn flows_from(&self, port: u16) -> usize {
        let flows = self.reader.maps().flows().into_iter().flat_map(Flows::iter);
        flows
            .filter(|(_, flow)| u16::from_be(flow.tuple(0).source_port) == port)
            .count()
    }
}

/// Frames that are dropped, each counted by name.
pub struct Counted<'a> {
    bed: &'a Bed,
    reason: &'static str,
    sent: u64,
}

impl Counted<'_> {
    /// Sends them, no more at a time than queues hold.
    pub fn send(&mut self, link: &LinkSocket, frames: impl IntoIterator<Item = Vec<u8>>) {
        let frames: Vec<Vec<u8>> = frames.into_iter().collect();
        for chunk in frames.chunks(CHUNK) {
            for frame in chunk {
                link.send(frame).unwrap();
            }
            self.sent += chunk.len() as u64;
            let (reason, sent) = (self.reason, self.sent);
            until(
                &format!("{sent} frames to be dropped as {reason}"),
                PATIENCE,
                || Ok((self.bed.drops() == [(reason, sent)]).then_some(())),
            )
            .unwrap_or_else(|error| panic!("{error:#}; dropped: {:?}", self.bed.drops()));
        }
    }

    /// Nothing else was dropped.
    pub fn only(&self) {
        assert_eq!(self.bed.drops(), [(self.reason, self.sent)]);
    }
}

fn mac(text: &str) -> [u8; 6] {
    let bytes = text
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    bytes.collect::<Vec<u8>>().try_into().unwrap()
}
