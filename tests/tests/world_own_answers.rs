//! What answers the node's own connections, or those of containers that the host masquerades, is never taken for a Service, whatever
//! port they use.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod own_answers {
    pub(crate) mod peers;
}

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use weir_tests::{
    in_every_mode,
    modes::Mode,
    served::serve,
    world::{
        Cluster, Node, Place, Pod, Server, World, ask_tcp, ask_udp,
        cluster::{POD_PORT, SERVICE_PORT},
    },
};

use own_answers::peers::{Flow, Peer, Protocol, Protocol::Tcp, Protocol::Udp};

in_every_mode![
    answers_to_the_host_are_the_hosts,
    answers_to_masqueraded_containers_are_theirs,
];

const NODE_PORT: u16 = 30080;
const HOST_PORT: u16 = 8000;
const CHECK_PORT: u16 = 30090;
const BALANCER: [&str; 2] = ["203.0.113.10", "2001:db8::10"];
/// Ports that mean something here: of a `NodePort`, a health check of one, a `hostPort`, a load balancer, a pod that serves, the
/// tunnel, and one that translation gives to others; then one of nobody.
const PORTS: [u16; 8] = [
    NODE_PORT,
    CHECK_PORT,
    HOST_PORT,
    SERVICE_PORT,
    POD_PORT,
    4789,
    20_000,
    45_000,
];

struct Bed {
    peers: [Peer; 2],
    _servers: Vec<Server>,
    _pods: Vec<Pod>,
    cluster: Cluster,
}

/// Services and a pod that have all these ports on the first node, and somebody outside who is asked.
fn bed(cluster: Cluster) -> Bed {
    let outside = cluster.world().outside();
    let peers = peers(outside, 7000);
    let (near, far) = (
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    );
    let port = |protocol| json!({ "HostPort": HOST_PORT, "ContainerPort": POD_PORT, "Protocol": protocol, "HostIP": "" });
    let ports = json!([port("tcp"), port("udp")]);
    let web = cluster.pod_with_ports(0, "web", &ports).unwrap();
    let servers = [&near, &far, &web]
        .into_iter()
        .flat_map(|pod| serve(pod).unwrap());
    let servers = servers.collect();
    let port = |name: &str| {
        json!({
            "name": name, "protocol": name.to_uppercase(), "port": SERVICE_PORT,
            "targetPort": POD_PORT, "nodePort": NODE_PORT,
        })
    };
    let own = cluster.node(0).addresses();
    let more = json!({
        "type": "LoadBalancer", "ports": [port("tcp"), port("udp")], "externalIPs": own,
        "status": { "loadBalancer": { "ingress": BALANCER.map(|ip| json!({ "ip": ip })) } },
    });
    cluster.service("web", 80, &[&near, &far], &more).unwrap();
    let checked = json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": CHECK_PORT,
        "ports": [{ "name": "tcp", "protocol": "TCP", "port": 81, "targetPort": POD_PORT }],
    });
    cluster.service("checked", 81, &[&near], &checked).unwrap();
    for ip in own {
        for port in [NODE_PORT, HOST_PORT, SERVICE_PORT] {
            let to = SocketAddr::new(ip, port);
            cluster
                .eventually(&format!("an answer of {to}"), || {
                    ask_tcp(outside, to).ok()?;
                    ask_udp(outside, to, b"?").ok()
                })
                .unwrap();
        }
    }
    Bed {
        peers,
        _servers: servers,
        _pods: vec![near, far, web],
        cluster,
    }
}

/// Somebody outside, of each family.
fn peers(outside: &Place, port: u16) -> [Peer; 2] {
    ["172.30.0.1", "fd30::1"]
        .map(|ip| Peer::start(outside, SocketAddr::new(ip.parse().unwrap(), port)))
}

/// Flows of the node from these addresses and all ports, but for those where somebody listens.
fn open(from: &[IpAddr], open: impl Fn(Protocol, SocketAddr) -> Flow) -> Vec<Flow> {
    let all = from.iter().flat_map(|ip| {
        PORTS.into_iter().flat_map(move |port| {
            let listens = port == CHECK_PORT;
            let protocols = [Udp, Tcp]
                .into_iter()
                .filter(move |p| *p == Udp || !listens);
            protocols.map(move |protocol| (protocol, SocketAddr::new(*ip, port)))
        })
    });
    all.map(|(protocol, from)| open(protocol, from)).collect()
}

fn talk(flows: &mut [Flow], peers: &[Peer; 2]) {
    for flow in flows {
        let peer = &peers[usize::from(flow.is_ipv6())];
        flow.talk(peer);
        flow.hear(peer);
    }
}

fn answers_to_the_host_are_the_hosts(mode: Mode) {
    // Some are older than any agent.
    let before = |world: &World, nodes: &[Node]| {
        let peers = peers(world.outside(), 7001);
        let node = &nodes[0];
        node.batch(&format!(
            "addr add {}/32 dev lo\naddr add {}/128 dev lo nodad\n",
            BALANCER[0], BALANCER[1]
        ))
        .unwrap();
        let mut flows = open(&node.addresses(), |protocol, from| {
            Flow::open(node, from, &peers[usize::from(from.is_ipv6())], protocol)
        });
        talk(&mut flows, &peers);
        Ok((flows, peers))
    };
    let (cluster, (mut older, others)) =
        Cluster::start_after("own", &["a", "b"], mode, before).unwrap();
    let bed = bed(cluster);
    // Nobody has heard of them yet: it is the peer that speaks first.
    for flow in &mut older {
        flow.hear(&others[usize::from(flow.is_ipv6())]);
    }
    let node = bed.cluster.node(0);
    lead(bed.cluster.world().outside(), BALANCER, node.addresses());
    let mut from = node.addresses().to_vec();
    from.extend(BALANCER.map(|ip| ip.parse::<IpAddr>().unwrap()));
    let mut flows = open(&from, |protocol, from| {
        let peer = &bed.peers[usize::from(from.is_ipv6())];
        Flow::open(node, from, peer, protocol)
    });
    for _ in 0..3 {
        talk(&mut flows, &bed.peers);
        talk(&mut older, &others);
    }
}

/// Leads to addresses by a node's.
fn lead(place: &Place, to: [&str; 2], by: [IpAddr; 2]) {
    for (to, via) in to.iter().zip(by) {
        let family = if via.is_ipv4() { "-4" } else { "-6" };
        place
            .run(&[
                "ip",
                family,
                "route",
                "replace",
                to,
                "via",
                &via.to_string(),
            ])
            .unwrap();
    }
}

/// The host's netfilter gives them its own name and this port.
fn masquerade(node: &Node, port: u16) {
    let rules = format!(
        "table inet nat\nflush table inet nat\ntable inet nat {{\n\
         chain postrouting {{ type nat hook postrouting priority 100;\n\
         ip saddr 172.30.5.0/24 oifname \"eth0\" meta l4proto {{ tcp, udp }} masquerade to :{port}\n\
         ip6 saddr fd30:5::/64 oifname \"eth0\" meta l4proto {{ tcp, udp }} masquerade to :{port}\n\
         }}\n}}\n"
    );
    node.run_with_input(&["nft", "-f", "-"], &rules).unwrap();
}

fn answers_to_masqueraded_containers_are_theirs(mode: Mode) {
    let bed = bed(Cluster::start("own-nat", &["a", "b"], mode).unwrap());
    let node = bed.cluster.node(0);
    let container = node.container("box", "docker0", 5).unwrap();
    let mut flows = Vec::new();
    for port in PORTS {
        masquerade(node, port);
        for (ip, peer) in container.addresses().into_iter().zip(&bed.peers) {
            let own = node.addresses()[usize::from(ip.is_ipv6())];
            for protocol in [Tcp, Udp] {
                let mut flow = Flow::open(&container, SocketAddr::new(ip, 0), peer, protocol);
                flow.talk(peer);
                if let Some(seen) = flow.seen() {
                    assert_eq!(seen, SocketAddr::new(own, port), "it is masqueraded");
                }
                flows.push(flow);
            }
        }
    }
    for _ in 0..3 {
        talk(&mut flows, &bed.peers);
    }
}
