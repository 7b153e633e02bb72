//! Ways that are narrower than the link by which packets come, because a route says so or by the tunnel: what may be cut is cut and
//! arrives, whatever netfilter does with fragments; of what may not its sender is told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use weir_tests::{
    in_every_mode,
    modes::Mode,
    served::{await_answer, serve},
    world::{
        Cluster, Place, Pod, Server, Talk, ask_udp, ask_udp_connected,
        cluster::{POD_PORT, SERVICE_PORT},
    },
};

in_every_mode![what_may_be_cut_arrives, of_what_may_not_the_sender_is_told];

const TUNNEL: Mode = &["--socket-balancing", "false", "--routing", "tunnel"];

#[test]
fn what_may_be_cut_arrives_through_the_tunnel() {
    what_may_be_cut_arrives(TUNNEL);
}

#[test]
fn of_what_may_not_the_sender_is_told_through_the_tunnel() {
    of_what_may_not_the_sender_is_told(TUNNEL);
}

const NODE_PORT: u16 = 30081;
/// MTU of the way to the backend. The tunnel has more, and less than a link.
const NARROW: u16 = 1300;
/// MTU of the way back to somebody outside.
const NARROW_BACK: u16 = 1290;
/// Fits a link, and no narrow way.
const MUCH: usize = 1440;

/// A client and two nodes, of which the other one has the backend of a Service.
struct Bed {
    _servers: Vec<Server>,
    far: Pod,
    client: Pod,
    host: Place,
    vips: [IpAddr; 2],
    cluster: Cluster,
}

impl Bed {
    fn start(name: &str, mode: Mode, df: bool) -> Self {
        let cluster = Cluster::start(name, &["a", "b"], mode).unwrap();
        let client = cluster.pod(0, "client").unwrap();
        let far = cluster.pod(1, "far").unwrap();
        let port = |name: &str| {
            json!({
                "name": name, "protocol": name.to_uppercase(), "port": SERVICE_PORT,
                "targetPort": POD_PORT, "nodePort": NODE_PORT,
            })
        };
        let more = json!({ "type": "NodePort", "ports": [port("tcp"), port("udp")] });
        let vips = cluster.service("web", 80, &[&far], &more).unwrap();
        let host = cluster.node(0).outsider().unwrap();
        if !df {
            without_df(&cluster, &[&client, &far]);
        }
        let bed = Self {
            _servers: serve(&far).unwrap(),
            far,
            client,
            host,
            vips,
            cluster,
        };
        for (place, to) in bed.questions() {
            await_answer(&bed.cluster, place, to).unwrap();
        }
        if mode != TUNNEL {
            bed.narrow();
        }
        bed
    }

    fn outside(&self) -> &Place {
        self.cluster.world().outside()
    }

    /// Who asks where, in both families.
    fn questions(&self) -> Vec<(&Place, SocketAddr)> {
        let own = self.cluster.node(0).addresses();
        let families = self.vips.into_iter().zip(own);
        let all = families.flat_map(|(vip, own)| {
            let (vip, port) = (
                SocketAddr::new(vip, SERVICE_PORT),
                SocketAddr::new(own, NODE_PORT),
            );
            [
                (self.outside(), port),
                (&*self.client, vip),
                (&*self.client, port),
                (&self.host, vip),
                (&self.host, port),
            ]
        });
        all.collect()
    }

    /// The first node has less room on its way to the backend than the links have.
    fn narrow(&self) {
        let [node, other] = [0, 1].map(|index| self.cluster.node(index));
        node.batch(&format!(
            "route add {}/32 via {} mtu {NARROW}\nroute add {}/128 via {} mtu {NARROW}\n",
            self.far.ipv4(),
            other.ipv4(),
            self.far.ipv6(),
            other.ipv6()
        ))
        .unwrap();
        settle();
    }

    /// And on its way back to somebody outside.
    fn narrow_back(&self) {
        let node = self.cluster.node(0);
        node.batch(&format!(
            "route add 172.30.0.1/32 dev eth0 mtu {NARROW_BACK}\n"
        ))
        .unwrap();
        settle();
    }

    /// The first node's netfilter puts fragments together before anything else.
    fn track(&self) {
        let rules = "table inet seen {\n\
            chain prerouting { type filter hook prerouting priority 0; ct state new counter; }\n\
            }\n";
        let node = self.cluster.node(0);
        node.run_with_input(&["nft", "-f", "-"], rules).unwrap();
    }

    fn drops(&self) -> String {
        let drops = [0, 1].map(|index| weir_tests::datapath::drops(self.cluster.node(index)));
        format!("dropped: {drops:?}")
    }
}

/// A changed route is followed a second later at most, once the agent has seen it.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(2100));
}

/// IPv4 of all sockets made from now on is sent without DF, and nobody heeds what routers say.
fn without_df(cluster: &Cluster, pods: &[&Pod; 2]) {
    let nodes = [0, 1].map(|index| &**cluster.node(index));
    let pods = pods.map(|pod| &**pod);
    for place in nodes
        .into_iter()
        .chain(pods)
        .chain([cluster.world().outside()])
    {
        let path = "/proc/sys/net/ipv4/ip_no_pmtu_disc";
        place.run_with_input(&["tee", path], "2").unwrap();
    }
}

fn what_may_be_cut_arrives(mode: Mode) {
    let bed = Bed::start("narrow-cut", mode, false);
    bed.narrow_back();
    for tracked in [false, true] {
        if tracked {
            bed.track();
        }
        for (place, to) in bed.questions() {
            if to.is_ipv6() {
                continue;
            }
            for size in [24, 1250, MUCH, 1472, 1473, 4000, 8000] {
                let sent: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
                let what = || format!("{size} bytes to {to}, tracked: {tracked}");
                let answer = ask_udp(place, to, &sent)
                    .unwrap_or_else(|error| panic!("{}: {error}, {}", what(), bed.drops()));
                assert_eq!(answer.payload, sent, "{}", what());
                assert_eq!(answer.peer, to, "{}", what());
            }
            let streamed = Talk::open(place, to).and_then(|mut talk| talk.stream(1 << 18));
            streamed.unwrap_or_else(|error| {
                panic!("TCP to {to}, tracked: {tracked}: {error}, {}", bed.drops())
            });
        }
    }
}

fn of_what_may_not_the_sender_is_told(mode: Mode) {
    let bed = Bed::start("narrow-told", mode, true);
    for (place, to) in bed.questions() {
        let asked = ask_udp_connected(place, to, &[7; MUCH]);
        // Pods, and the device by which the host reaches Services, have no more room than the tunnel.
        let is_known = mode == TUNNEL
            && (std::ptr::eq(place, &raw const *bed.client)
                || std::ptr::eq(place, &raw const bed.host) && to.port() == SERVICE_PORT);
        if !is_known {
            let error = match asked {
                Ok(answer) => panic!("{} is told nothing about {to}", answer.local),
                Err(error) => error.raw_os_error(),
            };
            assert_eq!(error, Some(libc::EMSGSIZE), "{to}: {}", bed.drops());
        }
        let again = ask_udp_connected(place, to, &[7; MUCH]);
        let answer = again.unwrap_or_else(|error| panic!("{to}: {error}, {}", bed.drops()));
        assert_eq!(answer.payload, [7; MUCH]);
        let streamed = Talk::open(place, to).and_then(|mut talk| talk.stream(1 << 18));
        streamed.unwrap_or_else(|error| panic!("TCP to {to}: {error}, {}", bed.drops()));
    }
}
