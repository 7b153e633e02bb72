//! A test bed for what comes from outside: a node with a `NodePort` whose backend is elsewhere on its link, where all datagrams end.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use weir_world::{
    Agent, Manifests, Node, Process, World,
    load::Flood,
    manifests::{service, slice},
    set_tx_checksum, until,
};

use crate::bench::{api::Api, kube_proxy, load};

/// The port of the node, and that of the backend.
const NODE_PORT: u16 = 30080;
const PORT: u16 = 9;
/// Sockets of the client.
const FLOWS: usize = 64;
/// How long a change may take to be in force.
const SYNC_LIMIT: Duration = Duration::from_mins(1);

/// What the node does with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Drops it at the link: what sending costs.
    Drop,
    /// kube-proxy, nftables.
    KubeProxy,
    /// Weir, tc.
    Tc,
}

impl By {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Drop, Self::KubeProxy, Self::Tc];

    /// As in the results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Drop => "dropped at the link",
            Self::KubeProxy => "kube-proxy",
            Self::Tc => "Weir, tc",
        }
    }
}

/// Who serves. Held for its end, in this order.
enum Server {
    Nobody,
    KubeProxy(
        #[expect(dead_code, reason = "held")] Process,
        #[expect(dead_code, reason = "held")] Box<Api>,
    ),
    Weir(#[expect(dead_code, reason = "held")] Box<Agent>),
}

/// It. Ended in this order: who serves, then the nodes and their world.
pub(crate) struct LinkBed {
    by: By,
    _server: Server,
    balancer: Node,
    sink: Node,
    world: World,
}

impl LinkBed {
    /// A bed in which datagrams are served, or dropped.
    pub(crate) fn new(by: By) -> Result<Self> {
        let world = World::new("north-south")?;
        let (balancer, sink) = (world.node("a")?, world.node("b")?);
        discard(&sink)?;
        // Checksums are finished, as those of cards are.
        set_tx_checksum(world.outside(), "port1", false)?;
        let objects = objects(&sink);
        let server = match by {
            By::Drop => {
                discard(&balancer)?;
                Server::Nobody
            }
            By::KubeProxy => {
                let api = Api::start(&world)?;
                let proxy = kube_proxy::start(&balancer, &api)?;
                api.create(&objects)?;
                Server::KubeProxy(proxy, Box::new(api))
            }
            By::Tc => {
                let manifests = Manifests::new()?;
                let agent = Agent::start(&balancer, &manifests, &["--xdp", "off"])?;
                manifests.apply_objects("services.yaml", &objects)?;
                Server::Weir(Box::new(agent))
            }
        };
        let bed = Self {
            by,
            _server: server,
            balancer,
            sink,
            world,
        };
        bed.await_served()?;
        Ok(bed)
    }

    /// Sends for a while; datagrams that arrived per second.
    pub(crate) fn rate(&self, span: Duration) -> Result<f64> {
        let (_, arrived) = self.send(span)?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(arrived as f64 / span.as_secs_f64())
    }

    /// Datagrams that were sent, and that arrived where they end.
    fn send(&self, span: Duration) -> Result<(u64, u64)> {
        let to = SocketAddr::new(self.balancer.ipv4().into(), NODE_PORT);
        let request = Flood {
            to,
            sockets: FLOWS,
            span,
        };
        let end = if self.by == By::Drop {
            &self.balancer
        } else {
            &self.sink
        };
        let before = received(end)?;
        let sent = load::flood(self.world.outside(), &request)?;
        Ok((sent, received(end)? - before))
    }

    fn await_served(&self) -> Result<()> {
        let what = format!("datagrams through {}", self.by.name());
        until(&what, SYNC_LIMIT, || {
            let (sent, arrived) = self.send(Duration::from_millis(20))?;
            // Some are lost where a queue is full. Others, such as announcements, are few.
            Ok((arrived * 10 > sent).then_some(()))
        })
    }
}

/// Drops what comes by the uplink, but ARP.
fn discard(node: &Node) -> Result<()> {
    let rules = "table netdev discard {\n\
        chain taken {\n\
        type filter hook ingress device eth0 priority 0;\n\
        meta protocol ip drop\n\
        }\n\
        }\n";
    node.run_with_input(&["nft", "-f", "-"], rules).map(drop)
}

fn received(node: &Node) -> Result<u64> {
    let count = node.run(&["cat", "/sys/class/net/eth0/statistics/rx_packets"])?;
    count.trim().parse().context("read a count of packets")
}

fn objects(sink: &Node) -> [Value; 2] {
    let ports = json!([{ "name": "bench", "port": PORT, "protocol": "UDP" }]);
    let address = "10.96.1.3";
    let spec = json!({
        "type": "NodePort",
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": ["IPv4"],
        "ports": [{
            "name": "bench", "port": PORT, "protocol": "UDP", "targetPort": PORT, "nodePort": NODE_PORT,
        }],
    });
    let backends = [(sink.ipv4().to_string(), "b")];
    [service("sink", &spec), slice("sink", &ports, &backends)]
}
