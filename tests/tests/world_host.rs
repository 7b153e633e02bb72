//! What the host sends to Services where no socket hook chooses a backend: every kind of backend, on nodes without a
//! default route, whatever becomes of the agent and its device meanwhile.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
};

use serde_json::json;
use weir_tests::{
    datapath::drops,
    in_every_mode,
    modes::Mode,
    served::{await_answer, serve, service},
    world::{
        Cluster, Node, Place, Pod, Server, Talk, ask_tcp, ask_udp, ask_udp_connected,
        cluster::{POD_PORT, SERVICE_PORT},
        set_tx_checksum,
    },
};

const PACKET: Mode = &["--socket-balancing", "false"];

/// By the tunnel answers come by a device that sends nothing to Services.
const TUNNEL: Mode = &["--socket-balancing", "false", "--routing", "tunnel"];

in_every_mode![
    every_kind_of_backend_serves,
    what_nobody_serves_is_refused_at_once,
];

/// Two nodes that know no way but to each other.
fn cluster(name: &str, mode: Mode) -> Cluster {
    let cluster = Cluster::start(name, &["a", "b"], mode).unwrap();
    for node in [cluster.node(0), cluster.node(1)] {
        for family in ["-4", "-6"] {
            node.run(&["ip", family, "route", "del", "default"])
                .unwrap();
        }
    }
    cluster
}

fn rp_filter(node: &Node, value: &str) {
    let path = "/proc/sys/net/ipv4/conf/all/rp_filter";
    node.run_with_input(&["tee", path], value).unwrap();
}

/// Servers somewhere, and the Service in front of them.
struct Backend {
    name: String,
    to: [SocketAddr; 2],
    servers: Vec<Server>,
    _pod: Option<Pod>,
}

impl Backend {
    fn pod(cluster: &Cluster, node: usize, name: &str, number: u8) -> Self {
        let pod = cluster.pod(node, name).unwrap();
        Self {
            name: name.to_owned(),
            to: service(cluster, name, number, &[&pod]).unwrap(),
            servers: serve(&pod).unwrap(),
            _pod: Some(pod),
        }
    }

    /// As a pod with `hostNetwork`, listening on all addresses: a datagram's answer leaves from the one that the
    /// route to the client names.
    fn host(cluster: &Cluster, node: usize, name: &str, number: u8) -> Self {
        let node = cluster.node(node);
        let any = ["0.0.0.0", "::"].map(|ip| SocketAddr::new(ip.parse().unwrap(), POD_PORT));
        let servers = any.into_iter().flat_map(|at| {
            [
                Server::tcp(node, at, name).unwrap(),
                Server::udp(node, at, name).unwrap(),
            ]
        });
        let servers = servers.collect();
        let addresses = cluster.service(name, number, &[], &json!({})).unwrap();
        let endpoint = (node.addresses(), node.name());
        cluster.endpoints_at(name, &[endpoint]).unwrap();
        Self {
            name: name.to_owned(),
            to: addresses.map(|ip| SocketAddr::new(ip, SERVICE_PORT)),
            servers,
            _pod: None,
        }
    }

    /// Asks in every way, in both families.
    fn asked_by(&self, place: &Place) {
        let large: Vec<u8> = (0..8000_u32).map(|number| number as u8).collect();
        for to in self.to {
            let what = |how: &str| format!("{how} {to} of {}", self.name);
            let answers = [
                ask_tcp(place, to).unwrap_or_else(|error| panic!("{}: {error}", what("TCP"))),
                ask_udp(place, to, &large)
                    .unwrap_or_else(|error| panic!("{}: {error}", what("UDP"))),
                ask_udp_connected(place, to, b"?")
                    .unwrap_or_else(|error| panic!("{}: {error}", what("UDP, connected"))),
            ];
            assert_eq!(answers[1].payload, large);
            for answer in answers {
                assert_eq!((&answer.name, answer.peer), (&self.name, to));
            }
        }
    }

    fn await_answers(&self, cluster: &Cluster, place: &Place) {
        for to in self.to {
            await_answer(cluster, place, to).unwrap();
        }
    }
}

/// One backend of each kind, behind a Service each.
fn backends(cluster: &Cluster) -> [Backend; 4] {
    [
        Backend::pod(cluster, 0, "near", 80),
        Backend::pod(cluster, 1, "far", 81),
        Backend::host(cluster, 0, "own", 82),
        Backend::host(cluster, 1, "other", 83),
    ]
}

#[test]
fn every_kind_of_backend_serves_through_the_tunnel() {
    every_kind_of_backend_serves(TUNNEL);
}

fn every_kind_of_backend_serves(mode: Mode) {
    let cluster = cluster("host-all", mode);
    let node = cluster.node(0);
    let client = node.outsider().unwrap();
    let backends = backends(&cluster);
    for backend in &backends {
        backend.await_answers(&cluster, &client);
        backend.asked_by(&client);
        for to in backend.to {
            let streamed = Talk::open(&client, to).and_then(|mut talk| talk.stream(1 << 20));
            streamed.unwrap_or_else(|error| panic!("{to}: {error}"));
        }
    }
    for name in ["weir_host", "eth0"] {
        set_tx_checksum(node, name, false).unwrap();
    }
    for backend in &backends {
        backend.asked_by(&client);
    }
    // Pods and other nodes see the node; its own server sees who leads back to weir_host.
    let seen = |backend: &Backend| -> Vec<IpAddr> {
        let peers = backend.servers.iter().flat_map(Server::peers);
        peers.map(|peer| peer.ip()).collect()
    };
    let [near, far, own, other] = backends;
    for backend in [&near, &far, &other] {
        let strangers: Vec<_> = seen(backend)
            .into_iter()
            .filter(|ip| !node.addresses().contains(ip))
            .collect();
        assert!(strangers.is_empty(), "{}: {strangers:?}", backend.name);
    }
    let itself: [IpAddr; 2] = ["169.254.87.2", "fd57:6569:7200::2"].map(|ip| ip.parse().unwrap());
    assert!(seen(&own).iter().all(|ip| itself.contains(ip)));

    // Errors of the host's own stack, about packets that it was sent in another's name.
    drop(own.servers);
    for to in own.to {
        let error = ask_tcp(&client, to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "TCP {to}");
        let error = ask_udp_connected(&client, to, b"?").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "UDP {to}");
    }
}

fn what_nobody_serves_is_refused_at_once(mode: Mode) {
    let cluster = cluster("host-none", mode);
    let client = cluster.node(0).outsider().unwrap();
    let served = Backend::pod(&cluster, 0, "near", 80);
    served.await_answers(&cluster, &client);
    let empty = service(&cluster, "empty", 81, &[]).unwrap();
    let other_port = served.to.map(|to| SocketAddr::new(to.ip(), 81));
    let nobody = ["10.96.200.1:80", "[fd00:10:96::c801]:80"].map(|to| to.parse().unwrap());
    for to in [empty, other_port].into_iter().flatten() {
        let tcp = ask_tcp(&client, to).unwrap_err();
        assert_eq!(tcp.kind(), ErrorKind::ConnectionRefused, "TCP {to}");
        let udp = ask_udp_connected(&client, to, b"?").unwrap_err();
        assert_eq!(udp.kind(), ErrorKind::ConnectionRefused, "UDP {to}");
    }
    // Whoever comes a moment before a Service asks again, and is served.
    for to in nobody {
        let tcp = ask_tcp(&client, to).unwrap_err();
        assert_eq!(tcp.kind(), ErrorKind::TimedOut, "TCP {to}");
    }
    let drops = drops(cluster.node(0)).unwrap();
    assert!(drops.contains_key("no-service"), "{drops:?}");
}

fn index(node: &Node) -> String {
    node.run(&["cat", "/sys/class/net/weir_host/ifindex"])
        .unwrap()
}

#[test]
fn the_device_outlives_the_agent_and_is_made_again_if_it_is_lost() {
    let mut cluster = cluster("host-restart", PACKET);
    let node = cluster.node(0).clone();
    let client = node.outsider().unwrap();
    let backends = backends(&cluster);
    for backend in &backends {
        backend.await_answers(&cluster, &client);
    }
    let before = index(&node);
    let mut open = backends.each_ref().map(|backend| {
        let talk = Talk::open(&client, backend.to[0]).unwrap();
        assert_eq!(talk.name(), backend.name);
        talk
    });
    cluster.agent_mut(0).crash().unwrap();
    for backend in &backends {
        backend.asked_by(&client);
    }
    // Strict, and nobody to loosen it: what comes back by weir_host passes.
    rp_filter(&node, "1");
    backends[0].asked_by(&client);
    backends[2].asked_by(&client);
    cluster.agent_mut(0).restart().unwrap();
    assert_eq!(index(&node), before, "the same device");
    cluster
        .eventually("the uplink to take answers", || {
            ask_tcp(&client, backends[1].to[0]).ok()
        })
        .unwrap();
    for backend in &backends {
        backend.asked_by(&client);
    }
    for talk in &mut open {
        talk.echo("still here").unwrap();
    }
    node.run(&["ip", "link", "del", "weir_host"]).unwrap();
    // The agent looks every ten seconds.
    let back = || ask_tcp(&client, backends[2].to[1]).ok();
    weir_tests::world::until("the device", std::time::Duration::from_secs(30), || {
        Ok(back())
    })
    .unwrap();
    for backend in &backends {
        backend.asked_by(&client);
    }
}

/// Somebody else's routes win and stay; the program on the uplink serves what takes them.
#[test]
fn routes_of_others_stay_and_are_said() {
    let mut cluster = Cluster::start("host-routes", &["a", "b"], PACKET).unwrap();
    let node = cluster.node(0).clone();
    let client = node.outsider().unwrap();
    cluster.agent_mut(0).terminate().unwrap();
    node.run(&["ip", "link", "del", "weir_host"]).unwrap();
    let theirs = [
        "10.96.0.80/29 via 172.30.0.1",
        "fd00:10:96::/112 via fd30::1",
    ];
    for route in theirs {
        node.batch(&format!("route add {route} proto static\n"))
            .unwrap();
    }
    cluster.agent_mut(0).restart().unwrap();
    for backend in backends(&cluster) {
        backend.await_answers(&cluster, &client);
        backend.asked_by(&client);
    }
    let routes = |family| {
        let words = ["ip", family, "route", "show", "proto", "89"];
        node.run(&words).unwrap()
    };
    assert!(routes("-4").contains("10.96.0.0/16 via 169.254.87.2 dev weir_host src 172.30.0."));
    assert!(
        !routes("-6").contains("fd00:10:96::/112"),
        "{}",
        routes("-6")
    );
    let log = cluster.agent(0).log();
    let status = cluster.agent(0).proxyctl(&["status"]).unwrap();
    for range in ["10.96.0.80/29", "fd00:10:96::/112"] {
        let said = format!("{range} is routed elsewhere");
        assert!(log.contains(&said), "{log}");
        assert!(status.contains(&said), "{status}");
    }
}

/// What was a Service is its backend from then on, on the uplink too.
#[test]
fn a_backend_that_is_a_service_itself_is_left_to_its_node() {
    let cluster = cluster("host-twice", PACKET);
    let client = cluster.node(0).outsider().unwrap();
    let far = cluster.pod(1, "far").unwrap();
    let _servers = serve(&far).unwrap();
    let there = cluster.node(1);
    let more = json!({ "externalIPs": there.addresses(), "ports": [
        { "name": "tcp", "protocol": "TCP", "port": POD_PORT, "targetPort": POD_PORT },
        { "name": "udp", "protocol": "UDP", "port": POD_PORT, "targetPort": POD_PORT },
    ]});
    cluster.service("inner", 80, &[&far], &more).unwrap();
    let outer = cluster.service("outer", 81, &[], &json!({})).unwrap();
    let endpoint = (there.addresses(), there.name());
    cluster.endpoints_at("outer", &[endpoint]).unwrap();
    for ip in outer {
        let to = SocketAddr::new(ip, SERVICE_PORT);
        await_answer(&cluster, &client, to).unwrap();
        assert_eq!(ask_tcp(&client, to).unwrap().peer, to);
    }
}
