//! Links without an Ethernet header, of every kind that this kernel has; where tests run on emulated machines, those have all.

use std::{
    env,
    net::{IpAddr, SocketAddr},
};

use serde_json::Value;
use weir_tests::{
    in_every_mode,
    modes::Mode,
    world::{
        Agent, Manifests, Network, Node, Place, Server, Talk, Tun, World, ask_udp,
        cluster::{POD_PORT, SERVICE_PORT, SYNC_LIMIT},
        slowness, until,
    },
};

use super::{
    kinds::{KINDS, Kind},
    lab::{BALANCER, HOST_PORT, Lab, NODE_PORT, lead},
};

in_every_mode![every_kind_serves_as_an_ethernet];

/// Brings it up on both sides, with the addresses of a network of these families.
fn up(node: &Node, outside: &Place, name: &str, network: Network, families: [bool; 2]) {
    for (place, ips) in [(outside, network.fabric()), (&**node, network.member(NODE))] {
        let words = ["24", "64 nodad"].into_iter().zip(ips).zip(families);
        let addresses = words.filter(|(_, has)| *has).map(|((size, ip), _)| {
            let (size, flags) = size.split_once(' ').unwrap_or((size, ""));
            format!("addr add {ip}/{size} dev {name} {flags}\n")
        });
        let script: String = addresses.collect();
        place
            .batch(&format!("{script}link set {name} up\n"))
            .unwrap();
    }
}

/// The first node's last number in each network.
const NODE: u8 = 11;

/// A link of a kind, on both sides.
struct Link<'a> {
    lab: &'a Lab,
    kind: &'a Kind,
    network: Network,
    _carriers: Vec<Tun>,
}

fn every_kind_serves_as_an_ethernet(mode: Mode) {
    let lab = Lab::start("bare", mode);
    let links: Vec<Link<'_>> = KINDS
        .iter()
        .zip(7..)
        .filter_map(|(kind, number)| Link::make(&lab, kind, Network { number }))
        .collect();
    if env::var_os("WEIR_LINKS").is_some() {
        assert_eq!(links.len(), KINDS.len(), "a kernel that has all kinds");
    }
    let many = many_ends(&lab);
    let all = || {
        let said = shown(&lab)?;
        let notes = said["notes"].to_string();
        let named = !many || notes.contains(&format!("{MANY} is left alone: its frames begin"));
        (named && links.iter().all(|link| link.is_in(&said))).then_some(())
    };
    lab.cluster
        .eventually("all links to be shown", all)
        .unwrap();
    for link in &links {
        for family in [0, 1] {
            if link.kind.families[family] {
                link.serves(family);
            }
        }
    }
}

/// GRE to no one end in particular, whose frames begin with a header of its own.
const MANY: &str = "many0";

/// Whether the node could be given it.
fn many_ends(lab: &Lab) -> bool {
    let node = lab.node();
    let made = node.batch(&format!("link add {MANY} type gre local {}\n", node.ipv4()));
    if made.is_ok() {
        let up = format!("addr add 172.30.99.1/24 dev {MANY}\nlink set {MANY} up\n");
        node.batch(&up).unwrap();
    }
    made.is_ok()
}

/// What the agent says of links.
fn shown(lab: &Lab) -> Option<Value> {
    let agent = lab.cluster.agent(0);
    let (_, said) = agent.proxyctl_verdict(&["status", "-o", "json"]).ok()?;
    let said: Value = serde_json::from_str(&said).ok()?;
    let status = said.get("status").unwrap_or(&said);
    Some(status["links"].clone())
}

impl<'a> Link<'a> {
    /// None: the kernel has none of this kind.
    fn make(lab: &'a Lab, kind: &'a Kind, network: Network) -> Option<Self> {
        let outside = lab.cluster.world().outside();
        let carriers = kind.make(lab.node(), outside)?;
        up(lab.node(), outside, kind.name, network, kind.families);
        Some(Self {
            lab,
            kind,
            network,
            _carriers: carriers,
        })
    }

    /// Whether the agent says that it has its programs.
    fn is_in(&self, said: &Value) -> bool {
        let links = said["links"].as_array();
        links.is_some_and(|links| {
            links.iter().any(|link| {
                link["name"] == self.kind.name
                    && link["ethernet"] == self.kind.ethernet
                    && link["attached"].is_string()
            })
        })
    }

    /// All that the node serves and all that its pods do is done by it.
    fn serves(&self, family: usize) {
        let outside = self.lab.cluster.world().outside();
        let ours = self.network.member(NODE)[family];
        let before = self.received(outside);
        let mut asked = self.services(outside, ours, family);
        asked += self.pods_are_reached(outside, ours, family);
        self.pods_reach(outside, ours, family);
        let received = self.received(outside) - before;
        assert!(
            received >= asked,
            "{}: {received} answers of {asked} by it",
            self.kind.name
        );
    }

    fn services(&self, outside: &Place, ours: IpAddr, family: usize) -> u64 {
        let lab = self.lab;
        lead(outside, BALANCER[family], ours);
        let balancer = SocketAddr::new(BALANCER[family].parse().unwrap(), SERVICE_PORT);
        let mut asked = 0;
        for (to, names) in [
            (SocketAddr::new(ours, NODE_PORT), &["far", "near"][..]),
            (balancer, &["far", "near"]),
            (SocketAddr::new(ours, HOST_PORT), &["web"]),
        ] {
            asked += lab.answers(outside, to, names);
            self.fragments(outside, to);
            self.streams(outside, to);
        }
        asked
    }

    /// A datagram that is longer than a packet. Over IPv6 the first answer may be what teaches its sender how long those may be.
    fn fragments(&self, from: &Place, to: SocketAddr) {
        let large = vec![7; 4000];
        let what = format!("{}: a long answer of {to}", self.kind.name);
        let answer = until(&what, SYNC_LIMIT, || Ok(Some(ask_udp(from, to, &large)?)));
        assert_eq!(answer.unwrap().payload, large);
    }

    /// Windows full of segments; who has answered.
    fn streams(&self, from: &Place, to: SocketAddr) -> String {
        let bytes = (1 << 18) / slowness() as usize;
        let streamed = Talk::open(from, to).and_then(|mut talk| {
            talk.stream(bytes)?;
            Ok(talk.name().to_owned())
        });
        streamed.unwrap_or_else(|e| panic!("{}: {to}: {e}", self.kind.name))
    }

    fn pods_are_reached(&self, outside: &Place, ours: IpAddr, family: usize) -> u64 {
        let pod = self.lab.near.addresses()[family];
        lead(outside, &pod.to_string(), ours);
        let to = SocketAddr::new(pod, POD_PORT);
        assert_eq!(self.streams(outside, to), "near");
        1
    }

    /// In the node's name.
    fn pods_reach(&self, outside: &Place, ours: IpAddr, family: usize) {
        let at = SocketAddr::new(self.network.fabric()[family], 7000);
        let server = Server::tcp(outside, at, "outside").unwrap();
        let _datagrams = Server::udp(outside, at, "outside").unwrap();
        let near = &self.lab.near;
        assert_eq!(self.streams(near, at), "outside");
        self.fragments(near, at);
        let peers = server.peers();
        assert!(peers.iter().all(|peer| peer.ip() == ours), "{peers:?}");
    }

    /// Packets that came to a place by it.
    fn received(&self, place: &Place) -> u64 {
        let file = format!("/sys/class/net/{}/statistics/rx_packets", self.kind.name);
        place.run(&["cat", &file]).unwrap().trim().parse().unwrap()
    }
}

/// All that the host does by such a link goes on, before, with and after the agent.
#[test]
fn the_hosts_own_traffic_by_a_tun_device_is_left_alone() {
    let world = World::new("tun-host").unwrap();
    let node = world.node("a").unwrap();
    let outside = world.outside();
    let _tun = Tun::between("tun0", [&node, outside]).unwrap();
    let network = Network { number: 7 };
    up(&node, outside, "tun0", network, [true; 2]);
    let (here, there) = (network.member(NODE), network.fabric());
    let servers: Vec<Server> = here
        .into_iter()
        .map(|ip| (&*node, SocketAddr::new(ip, 7000)))
        .chain(
            there
                .into_iter()
                .map(|ip| (outside, SocketAddr::new(ip, 7000))),
        )
        .flat_map(|(place, at)| {
            [
                Server::tcp(place, at, "x").unwrap(),
                Server::udp(place, at, "x").unwrap(),
            ]
        })
        .collect();
    let works = |when: &str| {
        for (place, to) in [(outside, here), (&*node, there)] {
            for ip in to {
                let to = SocketAddr::new(ip, 7000);
                let asked = Talk::open(place, to).and_then(|mut talk| talk.stream(1 << 16));
                asked.unwrap_or_else(|error| panic!("{when}: TCP {to}: {error}"));
                // Its fragments, too.
                let large = vec![7; 8000];
                let asked = ask_udp(place, to, &large);
                asked.unwrap_or_else(|error| panic!("{when}: UDP {to}: {error}"));
            }
        }
    };
    works("before");
    let manifests = Manifests::new().unwrap();
    let flags = ["--map-size", "small", "--link", "tun*"];
    let mut agent = Agent::start(&node, &manifests, &flags).unwrap();
    works("with the agent");
    let (_, status) = agent.proxyctl_verdict(&["status"]).unwrap();
    let line = status.lines().find(|line| line.starts_with("Links"));
    assert!(line.unwrap().ends_with(" tun0 (no Ethernet)"), "{status}");
    agent.terminate().unwrap();
    works("after the agent");
    drop(servers);
}
