//! `loadBalancerSourceRanges` between real sockets: outside, pods and the node itself, each topic at the socket, packet by
//! packet, and through the host's stack.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    thread,
};

use serde_json::json;
use weir_tests::{
    datapath::drops,
    in_every_mode,
    modes::Mode,
    served::{ask_all, await_answer, serve},
    world::{Answer, Cluster, Place, Pod, Server, Talk, ask_tcp, ask_udp, cluster::SERVICE_PORT},
};

in_every_mode![
    only_who_is_in_a_range_is_served_at_the_address,
    a_node_asks_the_address_that_it_has_itself,
    connections_stay_when_their_range_goes,
];

const ADDRESSES: [&str; 2] = ["203.0.113.80", "2001:db8::80"];

struct Bed {
    client: Pod,
    web: Pod,
    _servers: Vec<Server>,
    cluster: Cluster,
}

impl Bed {
    fn start(name: &str, mode: Mode) -> Self {
        let cluster = Cluster::start(name, &["a", "b"], mode).unwrap();
        let [v4, v6] = cluster.node(0).addresses();
        let outside = cluster.world().outside();
        // As a load balancer's announcement would have it.
        let routes =
            format!("route add 203.0.113.0/24 via {v4}\nroute add 2001:db8::/64 via {v6}\n");
        outside.batch(&routes).unwrap();
        let client = cluster.pod(0, "client").unwrap();
        let web = cluster.pod(1, "web").unwrap();
        let servers = serve(&web).unwrap();
        Self {
            client,
            web,
            _servers: servers,
            cluster,
        }
    }

    /// Names these ranges from now on.
    fn serve_only(&self, ranges: &[String]) {
        let more = json!({
            "type": "LoadBalancer",
            "loadBalancerSourceRanges": ranges,
            "externalIPs": ["203.0.113.81", "2001:db8::81"],
            "ports": [
                { "name": "tcp", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": 30080 },
                { "name": "udp", "protocol": "UDP", "port": 80, "targetPort": 8080, "nodePort": 30080 },
            ],
            "status": { "loadBalancer": { "ingress": ADDRESSES.map(|ip| json!({ "ip": ip })) } },
        });
        self.cluster
            .service("web", 80, &[&self.web], &more)
            .unwrap();
    }

    fn places(&self) -> [(&Place, [IpAddr; 2]); 3] {
        let (node, outside) = (self.cluster.node(0), self.cluster.world().outside());
        [
            (outside, outside_addresses(&self.cluster)),
            (&self.client, self.client.addresses()),
            (node, node.addresses()),
        ]
    }

    fn await_served(&self, place: &Place, to: SocketAddr) {
        await_answer(&self.cluster, place, to).unwrap();
        assert_eq!(ask_all(place, to), ["web"; 3], "{to}");
    }

    /// Waits until nobody answers any of them, and holds that it is dropped by name. All at once: silence takes its time.
    fn await_dropped(&self, who: &[(&Place, SocketAddr)]) {
        thread::scope(|scope| {
            for &(place, to) in who {
                scope.spawn(move || self.await_silence(to, || ask_tcp(place, to)));
                scope.spawn(move || self.await_silence(to, || ask_udp(place, to, b"?")));
            }
        });
        let drops = drops(self.cluster.node(0)).unwrap();
        assert!(drops.contains_key("source-range"), "{drops:?}");
    }

    fn await_silence(&self, to: SocketAddr, ask: impl Fn() -> io::Result<Answer>) {
        let late = |error: io::Error| {
            matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock).then_some(())
        };
        self.cluster
            .eventually(&format!("silence of {to}"), || ask().err().and_then(late))
            .unwrap();
    }
}

fn outside_addresses(cluster: &Cluster) -> [IpAddr; 2] {
    let outside = cluster.world().outside();
    cluster.node(0).addresses().map(|node| {
        let socket = outside.udp(SocketAddr::new(
            if node.is_ipv6() {
                "::".parse().unwrap()
            } else {
                "0.0.0.0".parse().unwrap()
            },
            0,
        ));
        let socket = socket.unwrap();
        socket.connect(SocketAddr::new(node, 9)).unwrap();
        socket.local_addr().unwrap().ip()
    })
}

fn balanced() -> [SocketAddr; 2] {
    ADDRESSES.map(|ip| SocketAddr::new(ip.parse().unwrap(), SERVICE_PORT))
}

/// Each place with each of them.
fn to_balanced<'a>(places: impl IntoIterator<Item = &'a Place>) -> Vec<(&'a Place, SocketAddr)> {
    let places = places.into_iter();
    places
        .flat_map(|place| balanced().map(|to| (place, to)))
        .collect()
}

fn of_one(address: IpAddr) -> String {
    let bits = if address.is_ipv6() { 128 } else { 32 };
    format!("{address}/{bits}")
}

fn only_who_is_in_a_range_is_served_at_the_address(mode: Mode) {
    let bed = Bed::start("ranges", mode);
    for index in 0..3 {
        let places = bed.places();
        bed.serve_only(&places[index].1.map(of_one));
        for to in balanced() {
            bed.await_served(places[index].0, to);
        }
        let others = (0..3).filter(|other| *other != index);
        bed.await_dropped(&to_balanced(others.map(|other| places[other].0)));
    }
    bed.serve_only(&["0.0.0.0/0".to_owned(), "::/0".to_owned()]);
    for (place, _) in bed.places() {
        for to in balanced() {
            bed.await_served(place, to);
        }
    }
}

#[test]
fn other_ways_to_the_service_are_open() {
    let mode = &[];
    let bed = Bed::start("ways", mode);
    bed.serve_only(&["198.18.0.0/15".to_owned(), "2001:db8:7::/48".to_owned()]);
    let outside = bed.cluster.world().outside();
    bed.await_dropped(&to_balanced([outside]));
    let external = ["203.0.113.81", "2001:db8::81"].map(|ip| ip.parse::<IpAddr>().unwrap());
    for (place, _) in bed.places() {
        for address in external {
            bed.await_served(place, SocketAddr::new(address, SERVICE_PORT));
        }
    }
    for address in bed.cluster.node(0).addresses() {
        for place in [outside, &*bed.client] {
            bed.await_served(place, SocketAddr::new(address, 30080));
        }
    }
    for address in ["10.96.0.80", "fd00:10:96::50"] {
        for place in [&*bed.client, &**bed.cluster.node(0)] {
            bed.await_served(
                place,
                SocketAddr::new(address.parse().unwrap(), SERVICE_PORT),
            );
        }
    }
}

fn a_node_asks_the_address_that_it_has_itself(mode: Mode) {
    let bed = Bed::start("own", mode);
    let node = bed.cluster.node(0);
    node.batch(&format!(
        "address add {}/32 dev lo\naddress add {}/128 dev lo\n",
        ADDRESSES[0], ADDRESSES[1]
    ))
    .unwrap();
    bed.serve_only(&node.addresses().map(of_one));
    for to in balanced() {
        bed.await_served(node, to);
    }
    bed.await_dropped(&to_balanced([&*bed.client]));
    bed.serve_only(&["198.18.0.0/15".to_owned(), "2001:db8:7::/48".to_owned()]);
    bed.await_dropped(&to_balanced([&**node]));
}

#[test]
fn a_family_without_a_range_is_open() {
    let mode = &[];
    let bed = Bed::start("family", mode);
    bed.serve_only(&["198.18.0.0/15".to_owned()]);
    let [v4, v6] = balanced();
    bed.await_dropped(&bed.places().map(|(place, _)| (place, v4)));
    for (place, addresses) in bed.places() {
        bed.await_served(place, v6);
        let asked = [
            "service",
            "trace",
            &addresses[0].to_string(),
            &v4.to_string(),
        ];
        let (code, words) = bed.cluster.agent(0).proxyctl_verdict(&asked).unwrap();
        assert_eq!(code, 1, "{words}");
        assert!(words.contains("none of 1 ranges has the client"), "{words}");
        let (client, to) = (addresses[0].to_string(), v4.ip().to_string());
        let asked = ["policy", "why", &client, &to, "80"];
        let (code, words) = bed.cluster.agent(0).proxyctl_verdict(&asked).unwrap();
        assert_eq!(code, 1, "{words}");
        assert!(
            words.contains("dropped before any policy (source-range)"),
            "{words}"
        );
    }
}

fn connections_stay_when_their_range_goes(mode: Mode) {
    let bed = Bed::start("stay", mode);
    bed.serve_only(&[]);
    let begin = |place: &Place, to| {
        bed.await_served(place, to);
        (Talk::open(place, to).unwrap(), to)
    };
    let places = bed.places();
    let places = places.iter().map(|(place, _)| *place);
    let talks = places
        .clone()
        .flat_map(|place| balanced().map(|to| begin(place, to)));
    let talks: Vec<(Talk, SocketAddr)> = talks.collect();
    bed.serve_only(&["198.18.0.0/15".to_owned(), "2001:db8:7::/48".to_owned()]);
    bed.await_dropped(&to_balanced(places));
    for (mut talk, to) in talks {
        talk.echo("still there")
            .unwrap_or_else(|error| panic!("{to}: {error}"));
    }
}
