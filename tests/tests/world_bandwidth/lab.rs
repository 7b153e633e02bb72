//! Two nodes, a pod on each, and limited ones.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use weir_tests::world::{
    Cluster, Place, Pod,
    bulk::{Arrived, TRANSPORTS, Transport, Way, send},
};

/// Port of every receiver.
pub(crate) const PORT: u16 = 8080;
/// Bytes per second of what most pods here are limited to (`20M`).
pub(crate) const RATE: u64 = 20_000_000 / 8;
/// Bytes that pass at once at that rate.
const BURST: u64 = 72 << 10;
/// How long is measured.
const TIME: Duration = Duration::from_secs(1);
/// The beginning.
const FIRST: Duration = Duration::from_millis(200);

/// Annotations of a Pod.
pub(crate) fn annotations(ingress: Option<&str>, egress: Option<&str>) -> Value {
    let mut all = json!({});
    for (key, value) in [("ingress", ingress), ("egress", egress)] {
        if let Some(value) = value {
            all[format!("kubernetes.io/{key}-bandwidth")] = json!(value);
        }
    }
    all
}

/// What containerd tells of such annotations.
pub(crate) fn told(annotations: &Value) -> Value {
    let rate = |key: &str| {
        let text = annotations[format!("kubernetes.io/{key}-bandwidth")].as_str();
        text.map_or(0, |text| {
            let (number, unit) = text.split_at(text.len() - 1);
            let unit = if unit == "M" { 1_000_000 } else { 1000 };
            number.parse::<u64>().unwrap() * unit
        })
    };
    json!({
        "IngressRate": rate("ingress"), "IngressBurst": u32::MAX,
        "EgressRate": rate("egress"), "EgressBurst": u32::MAX,
    })
}

pub(crate) struct Lab {
    pub(crate) near: Pod,
    pub(crate) far: Pod,
    pub(crate) cluster: Cluster,
}

impl Lab {
    pub(crate) fn start(name: &str, flags: &[&str]) -> Self {
        let flags = [&["--map-size", "small"], flags].concat();
        let cluster = Cluster::start(name, &["a", "b"], &flags).unwrap();
        let node = cluster.node(0);
        for (range, via) in node.pod_ranges().iter().zip(node.addresses()) {
            let route = ["ip", "route", "add", range, "via", &via.to_string()];
            cluster.world().outside().run(&route).unwrap();
        }
        Self {
            near: cluster.pod(0, "near").unwrap(),
            far: cluster.pod(1, "far").unwrap(),
            cluster,
        }
    }

    /// A pod of the first node.
    pub(crate) fn limited(&self, name: &str, annotations: &Value) -> Pod {
        let told = told(annotations);
        let pod = self.cluster.annotated_pod(0, name, annotations, &told);
        pod.unwrap()
    }

    /// A Service of this pod alone, known to the first node.
    pub(crate) fn service(&self, pod: &Pod) -> [IpAddr; 2] {
        let service = self.cluster.service("web", 10, &[pod], &json!({}));
        service.unwrap()
    }

    /// Outside the cluster.
    pub(crate) fn outside() -> [SocketAddr; 2] {
        let ips: [IpAddr; 2] = ["172.30.0.1".parse().unwrap(), "fd30::1".parse().unwrap()];
        ips.map(|ip| SocketAddr::new(ip, PORT))
    }

    pub(crate) fn send(&self, from: &Place, to: SocketAddr, at: &Place, by: Transport) -> Arrived {
        let way = Way {
            from,
            to,
            at,
            port: PORT,
        };
        let what = format!("a connection to {to}");
        let sent = self.cluster.eventually(&what, || send(&way, by, TIME).ok());
        sent.unwrap()
    }

    /// Both families, both transports.
    pub(crate) fn is_limited(&self, from: &Place, all: [SocketAddr; 2], at: &Place) {
        for (to, by) in all.into_iter().flat_map(|to| TRANSPORTS.map(|by| (to, by))) {
            must_be_limited(
                &self.send(from, to, at, by),
                RATE,
                &format!("{by:?} to {to}"),
            );
        }
    }

    /// What the first node has in force for a pod, bits per second.
    pub(crate) fn limits_of(&self, pod: &Pod) -> [Option<u64>; 2] {
        let row = self.row_of(pod);
        ["ingressLimit", "egressLimit"].map(|key| row[key].as_u64())
    }

    fn row_of(&self, pod: &Pod) -> Value {
        let dump = self
            .cluster
            .agent(0)
            .proxyctl(&["dump", "endpoints", "-o", "json"]);
        let dump: Value = serde_json::from_str(&dump.unwrap()).unwrap();
        let name = format!("default/{}", pod.name());
        let mut rows = dump["items"].as_array().unwrap().iter();
        rows.find(|row| row["pod"] == json!(name)).unwrap().clone()
    }

    /// What the first node has for limits.
    pub(crate) fn left(&self) -> String {
        let shown = self.run(&["tc", "qdisc", "show"]);
        let disciplines = shown.lines().filter(|line| is_ours(line));
        let disciplines = disciplines.map(str::to_owned);
        let queues = self.queues().into_iter();
        queues.chain(disciplines).collect::<Vec<_>>().join("\n")
    }

    /// Interfaces of queues of the first node.
    fn queues(&self) -> Vec<String> {
        let all = self.run(&["ls", "/sys/class/net"]);
        let queues = all.split_whitespace();
        let queues = queues.filter(|name| name.starts_with("weirq"));
        queues.map(str::to_owned).collect()
    }

    /// Where what pods of the first node send enters their queues.
    pub(crate) fn entries(&self) -> Vec<String> {
        let mut queues = self.queues();
        queues.retain(|name| name.ends_with('i'));
        queues
    }

    /// Bytes that went through the disciplines of limits on the first node since they were made.
    pub(crate) fn passed(&self) -> Vec<u64> {
        let shown = self.run(&["tc", "-s", "qdisc", "show"]);
        let lines: Vec<&str> = shown.lines().collect();
        let ours = lines.windows(2).filter(|pair| is_ours(pair[0]));
        let sent = ours.map(|pair| pair[1].split_whitespace().nth(1).unwrap());
        sent.map(|bytes| bytes.parse().unwrap()).collect()
    }

    /// On the first node.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        self.cluster.node(0).run(command).unwrap()
    }

    /// How many limits the first node's programs know.
    pub(crate) fn paces(&self) -> u64 {
        let maps = self
            .cluster
            .agent(0)
            .proxyctl(&["dump", "maps", "-o", "json"]);
        let maps: Value = serde_json::from_str(&maps.unwrap()).unwrap();
        let mut maps = maps["items"].as_array().unwrap().iter();
        let map = maps.find(|map| map["name"] == json!("PACES")).unwrap();
        map["entries"].as_u64().unwrap()
    }

    /// The host's side of a pod's interface.
    pub(crate) fn side(&self, pod: &Pod) -> String {
        let route = ["ip", "-o", "route", "get", &pod.ipv4().to_string()];
        let route = self.cluster.node(0).run(&route).unwrap();
        let mut words = route.split_whitespace();
        words.find(|word| *word == "dev").unwrap();
        words.next().unwrap().to_owned()
    }

    /// How the first node's limits are in force for a pod.
    pub(crate) fn ways_of(&self, pod: &Pod) -> [Option<String>; 2] {
        let row = self.row_of(pod);
        ["ingressWay", "egressWay"].map(|key| row[key].as_str().map(str::to_owned))
    }

    /// Whether the kernel of the first node has a queue for departure times: tried beside Weir.
    pub(crate) fn has_departures(&self) -> bool {
        let pair = "ip link add probe type veth peer name probed";
        self.run(&pair.split(' ').collect::<Vec<_>>());
        let add = ["tc", "qdisc", "add", "dev", "probe", "root", "fq"];
        let has = self.cluster.node(0).run(&add).is_ok();
        self.run(&["ip", "link", "del", "probe"]);
        has
    }

    /// A datagram in pieces.
    pub(crate) fn large_datagram(&self, from: &Place, place: &Place, to: IpAddr) {
        let any = if to.is_ipv4() { "0.0.0.0" } else { "[::]" };
        let at = place.udp(format!("{any}:9000").parse().unwrap()).unwrap();
        at.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let sender = from.udp(format!("{any}:0").parse().unwrap()).unwrap();
        let mut buffer = [0; 8192];
        let got = self.cluster.eventually("a large datagram", || {
            sender.send_to(&[7; 5000], (to, 9000)).ok()?;
            at.recv(&mut buffer).ok()
        });
        assert_eq!(got.unwrap(), 5000);
    }

    pub(crate) fn is_free(&self, from: &Place, to: SocketAddr, at: &Place) {
        let arrived = self.send(from, to, at, Transport::Tcp).until(TIME);
        assert!(arrived > 3 * share(RATE, TIME), "{to}: {arrived} bytes");
    }
}

/// A discipline of Weir's.
fn is_ours(line: &str) -> bool {
    line.contains(" 5765: ") || line.contains(" 5766: ")
}

fn share(rate: u64, time: Duration) -> u64 {
    rate * u64::try_from(time.as_millis()).unwrap() / 1000
}

/// Of the rate (bytes per second) between the half and 1.15, and no more than a burst ahead of it from the first byte.
pub(crate) fn must_be_limited(arrived: &Arrived, rate: u64, what: &str) {
    let (first, all) = (arrived.until(FIRST), arrived.until(TIME));
    let most = |time| BURST + share(rate, time) * 115 / 100;
    assert!(first <= most(FIRST), "{what}: {first} bytes at once");
    assert!(
        all <= most(TIME),
        "{what}: {all} bytes, more than {}",
        most(TIME)
    );
    assert!(all >= share(rate, TIME) / 2, "{what}: only {all} bytes");
}
