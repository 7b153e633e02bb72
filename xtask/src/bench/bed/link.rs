//! A test bed for what comes from outside: a node with Services whose backend is elsewhere on its link. The link's other end sends
//! frames as fast as one processor can, which does what the node does with them too, and ends those that come back.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_world::{
    Agent, Manifests, Node, Place, Process, World,
    manifests::{service, slice},
    set_gro, until,
};

use crate::bench::{api::Api, child::Child, kube_proxy};

/// The port of the node, and that of the backend.
const NODE_PORT: u16 = 30080;
const PORT: u16 = 9;
/// A load balancer's address and port that only clients of certain ranges may use, and how many ranges.
const CLOSED: ([u8; 4], u16) = ([198, 51, 100, 7], 443);
const RANGES: u16 = 10_000;
/// The link: its ends at the node and outside.
const UPLINK: &str = "eth0";
const OUTSIDE: &str = "port1";
/// The client, to which the node has a way, and the first of those that are refused.
const CLIENT: [u8; 4] = [172, 30, 0, 1];
const REFUSED: [u8; 4] = [203, 0, 0, 1];
/// Hardware address of clients.
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Flows, less one: a power of two.
const FLOWS: u32 = 63;
/// Few frames, that leave room for others on the link, and for who serves on the processors.
const GLANCE: Duration = Duration::from_millis(2);
/// How long a change may take to be in force.
const SYNC_LIMIT: Duration = Duration::from_mins(1);

/// What the node does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A program of XDP drops it: what sending costs.
    Drop,
    /// A program of XDP sends it back, no more.
    Back,
    /// kube-proxy, nftables.
    KubeProxy,
    /// Weir, tc.
    Tc,
    /// Weir, XDP.
    Xdp,
    /// Weir, XDP: source ranges refuse the client. New ones each time ask for connections.
    Refused,
}

impl By {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Drop,
        Self::Back,
        Self::KubeProxy,
        Self::Tc,
        Self::Xdp,
        Self::Refused,
    ];

    /// As in the results.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Drop => "dropped by XDP, no more",
            Self::Back => "sent back by XDP, no more",
            Self::KubeProxy => "kube-proxy",
            Self::Tc => "Weir, tc",
            Self::Xdp => "Weir, XDP",
            Self::Refused => "Weir, XDP, refused",
        }
    }

    /// Whether frames end at the node.
    pub(crate) const fn ends_there(self) -> bool {
        matches!(self, Self::Drop | Self::Refused)
    }
}

/// What the beds run: the program that fills links, and the object of its programs.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) program: PathBuf,
    pub(crate) object: PathBuf,
}

impl Wire {
    /// Started at a device, under a verb, until it is dropped.
    fn start(&self, place: &Place, device: &str, [verb, what]: [&str; 2]) -> Result<Child> {
        let mut command = place.command(&self.program)?;
        command.arg(&self.object).args([verb, device, what]);
        Child::of(command)
    }
}

/// What the filling of the link says of a round.
#[derive(Deserialize)]
struct Sent {
    sent: u64,
    seconds: f64,
}

/// Who serves. Held for its end, in this order.
enum Server {
    Bare(#[expect(dead_code, reason = "held")] Child),
    KubeProxy(
        #[expect(dead_code, reason = "held")] Process,
        #[expect(dead_code, reason = "held")] Box<Api>,
    ),
    Weir(#[expect(dead_code, reason = "held")] Box<Agent>),
}

/// It. Ended in this order: who sends and who serves, then the nodes and their world.
pub(crate) struct LinkBed {
    by: By,
    fill: Child,
    _server: Server,
    balancer: Node,
    _sink: Node,
    world: World,
}

impl LinkBed {
    /// A bed in which frames are served, or dropped.
    pub(crate) fn new(by: By, wire: &Wire) -> Result<Self> {
        let world = World::new("north-south")?;
        let (balancer, sink) = (world.node("a")?, world.node("b")?);
        set_gro(&balancer, UPLINK, true)?;
        let plan = plan(by, &balancer)?;
        let mut fill = wire.start(world.outside(), OUTSIDE, ["fill", &plan])?;
        // Once it is there the other end may send back by XDP.
        fill.ask::<Sent>("0")?;
        let server = serve(by, wire, (&world, &balancer), &objects(&sink))?;
        let mut bed = Self {
            by,
            fill,
            _server: server,
            balancer,
            _sink: sink,
            world,
        };
        bed.await_served()?;
        Ok(bed)
    }

    /// Sends for a while; frames that came to their end per second.
    pub(crate) fn rate(&mut self, span: Duration) -> Result<f64> {
        let (sent, arrived) = self.send(span)?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(arrived as f64 / sent.seconds)
    }

    /// What was sent, and how many frames arrived where they end.
    fn send(&mut self, span: Duration) -> Result<(Sent, u64)> {
        let before = self.arrived()?;
        let sent = self
            .fill
            .ask::<Sent>(&span.as_millis().to_string())?
            .pop()
            .context("no round")?;
        Ok((sent, self.arrived()? - before))
    }

    /// Frames that have come to where they end.
    fn arrived(&self) -> Result<u64> {
        let (place, device): (&Place, &str) = if self.by.ends_there() {
            (&self.balancer, UPLINK)
        } else {
            (self.world.outside(), OUTSIDE)
        };
        let file = format!("/sys/class/net/{device}/statistics/rx_packets");
        let count = place.run(&["cat", &file])?;
        count.trim().parse().context("read a count of packets")
    }

    fn await_served(&mut self) -> Result<()> {
        let what = format!("frames through {}", self.by.name());
        until(&what, SYNC_LIMIT, || {
            let (sent, arrived) = self.send(GLANCE)?;
            // Some are lost where a queue is full. Others, such as announcements, are few.
            Ok((arrived * 10 > sent.sent).then_some(()))
        })
    }
}

/// What is sent to the node, as the filling program reads it.
fn plan(by: By, balancer: &Node) -> Result<String> {
    let mac = balancer.run(&["cat", &format!("/sys/class/net/{UPLINK}/address")])?;
    let bytes: Result<Vec<u8>, _> = mac
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    let bytes = bytes.with_context(|| format!("read the hardware address {mac}"))?;
    let (from, to, port, flows) = if by == By::Refused {
        (REFUSED, CLOSED.0, CLOSED.1, 0)
    } else {
        (CLIENT, balancer.ipv4().octets(), NODE_PORT, FLOWS)
    };
    let dotted = |address: [u8; 4]| std::net::Ipv4Addr::from(address).to_string();
    let plan = json!({
        "macs": [CLIENT_MAC, bytes],
        "addresses": [dotted(from), dotted(to)],
        "ports": [port, PORT],
        "flows": flows,
    });
    Ok(plan.to_string())
}

fn serve(
    by: By,
    wire: &Wire,
    (world, balancer): (&World, &Node),
    objects: &[Value],
) -> Result<Server> {
    let bare = |program| {
        let mut child = wire.start(balancer, UPLINK, ["attach", program])?;
        child.round::<Value>()?;
        Ok(Server::Bare(child))
    };
    match by {
        By::Drop => bare("bare_drop"),
        By::Back => bare("bare_back"),
        By::KubeProxy => {
            let api = Api::start(world)?;
            let proxy = kube_proxy::start(balancer, &api)?;
            api.create(objects)?;
            Ok(Server::KubeProxy(proxy, Box::new(api)))
        }
        By::Tc => weir(balancer, objects, "off"),
        By::Xdp | By::Refused => weir(balancer, objects, "native"),
    }
}

fn weir(balancer: &Node, objects: &[Value], xdp: &str) -> Result<Server> {
    let manifests = Manifests::new()?;
    let agent = Agent::start(balancer, &manifests, &["--xdp", xdp])?;
    manifests.apply_objects("services.yaml", objects)?;
    if xdp != "off" {
        let live = format!("{UPLINK} {xdp}");
        until(&format!("XDP: {live}"), SYNC_LIMIT, || {
            let (_, text) = agent.proxyctl_verdict(&["status"])?;
            let mut lines = text.lines().filter(|line| line.starts_with("XDP "));
            Ok(lines.any(|line| line.contains(&live)).then_some(()))
        })?;
    }
    Ok(Server::Weir(Box::new(agent)))
}

fn objects(sink: &Node) -> Vec<Value> {
    let port = |protocol: &str, number: u16| json!({ "name": "bench", "port": number, "protocol": protocol });
    let spec = |kind: &str, address: &str, port: Value| {
        json!({
            "type": kind,
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ports": [port],
        })
    };
    let mut open = port("UDP", PORT);
    open["targetPort"] = PORT.into();
    open["nodePort"] = NODE_PORT.into();
    let mut closed = port("TCP", CLOSED.1);
    closed["targetPort"] = PORT.into();
    let mut closed = service("closed", &spec("LoadBalancer", "10.96.1.4", closed));
    let ranges = (0..RANGES).map(|number| {
        let [a, b] = number.to_be_bytes();
        format!("192.0.{a}.{b}/32")
    });
    closed["spec"]["loadBalancerSourceRanges"] = ranges.collect();
    closed["spec"]["allocateLoadBalancerNodePorts"] = false.into();
    let address = std::net::Ipv4Addr::from(CLOSED.0).to_string();
    closed["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": address }] } });
    let backends = [(sink.ipv4().to_string(), "b")];
    vec![
        service("sink", &spec("NodePort", "10.96.1.3", open)),
        slice("sink", &json!([port("UDP", PORT)]), &backends),
        closed,
        slice("closed", &json!([port("TCP", PORT)]), &backends),
    ]
}
