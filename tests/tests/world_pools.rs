//! Load balancers' addresses on a segment: neighbours find them by ARP and neighbour discovery, one node answers, and another one
//! when that is gone.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use serde_json::{Value, json};
use weir_tests::{
    served::serve,
    world::{Cluster, Node, Pod, Server, ask_tcp, cluster::SERVICE_PORT, program},
};

const VIPS: [&str; 2] = ["172.30.0.200", "fd30::200"];
const POOL: &str = "
apiVersion: weir.dev/v1alpha1
kind: AgentConfiguration
loadBalancer:
  pools: [{ name: lan, addresses: [172.30.0.200-172.30.0.210, fd30::200-fd30::210] }]
";

/// Nodes whose agents have a pool.
struct Lan {
    _servers: Vec<Server>,
    pods: Vec<Pod>,
    cluster: Cluster,
    _folder: tempfile::TempDir,
}

impl Lan {
    /// With a pod on each node, all behind one Service.
    fn start(name: &str, nodes: &[&str], more: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yaml");
        fs::write(&config, POOL).unwrap();
        let flags = ["--config", config.to_str().unwrap()];
        let cluster = Cluster::start(name, nodes, &flags).unwrap();
        let pods: Vec<Pod> = (0..nodes.len())
            .map(|i| cluster.pod(i, &format!("on-{}", nodes[i])).unwrap())
            .collect();
        let servers = pods.iter().flat_map(|pod| serve(pod).unwrap()).collect();
        let lan = Self {
            _servers: servers,
            pods,
            cluster,
            _folder: folder,
        };
        lan.serve(&VIPS, more);
        lan
    }

    /// The Service has these addresses.
    fn serve(&self, addresses: &[&str], more: &Value) {
        let ingress: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let mut spec = json!({
            "type": "LoadBalancer",
            "loadBalancerClass": "weir.dev/load-balancer",
            "status": { "loadBalancer": { "ingress": ingress } },
        });
        let more = more.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(more);
        let pods: Vec<&Pod> = self.pods.iter().collect();
        self.cluster.service("web", 80, &pods, &spec).unwrap();
    }

    /// Forgets what neighbours have said.
    fn forget(&self) {
        let outside = self.cluster.world().outside();
        outside.run(&["ip", "neigh", "flush", "all"]).unwrap();
    }

    /// The hardware address at which a client has found an address.
    fn found(&self, ip: &str) -> Option<String> {
        let outside = self.cluster.world().outside();
        let said = outside.run(&["ip", "neigh", "show", "to", ip]).unwrap();
        let mut words = said.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).map(str::to_owned)
    }

    /// Which node a client reaches, if it does.
    fn node_of(&self, ip: &str) -> Option<usize> {
        let outside = self.cluster.world().outside();
        let to = SocketAddr::new(ip.parse().unwrap(), SERVICE_PORT);
        ask_tcp(outside, to).ok()?;
        let mac = self.found(ip)?;
        let mut nodes = 0..self.pods.len();
        nodes.find(|i| mac_of(self.cluster.node(*i)) == mac)
    }

    /// Waits until a client reaches an address by a node that will do.
    fn reached(&self, ip: &str, what: &str, will_do: impl Fn(usize) -> bool) -> usize {
        let what = format!("{ip} to be reached by {what}");
        self.cluster
            .eventually(&what, || self.node_of(ip).filter(|node| will_do(*node)))
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.cluster.logs()))
    }

    /// Waits until all nodes elect the same one, and a client reaches that.
    fn settled(&self, ip: &str) -> usize {
        self.cluster
            .eventually("all to elect the one that answers", || {
                let name = elected(self, ip)?;
                let node = self.node_of(ip)?;
                (self.cluster.node(node).name() == name).then_some(node)
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.cluster.logs()))
    }

    fn status(&self, node: usize) -> Value {
        let command = proxyctl(self.cluster.node(node));
        let status: Value = serde_json::from_str(&command).unwrap();
        status["loadBalancers"].clone()
    }
}

fn proxyctl(node: &Node) -> String {
    let mut command = node.command(program("proxyctl").unwrap()).unwrap();
    let output = command
        .args(["--output", "json", "status"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn mac_of(node: &Node) -> String {
    let mac = node.run(&["cat", "/sys/class/net/eth0/address"]).unwrap();
    mac.trim().to_owned()
}

/// Whoever a node elects; all must say the same.
fn elected(lan: &Lan, ip: &str) -> Option<String> {
    let ip: IpAddr = ip.parse().unwrap();
    let of = |node: usize| {
        let status = lan.status(node);
        let addresses = status["addresses"].as_array().unwrap().clone();
        let mut addresses = addresses.into_iter();
        let found = addresses.find(|address| address["address"] == ip.to_string().as_str());
        found.map(|found| found["announced"][0]["node"].clone())
    };
    let all: Vec<_> = (0..lan.pods.len()).map(of).collect();
    let first = all[0].clone()?;
    all.iter()
        .all(|one| one.as_ref() == Some(&first))
        .then_some(())?;
    first.as_str().map(str::to_owned)
}

#[test]
fn one_node_answers_and_another_when_it_is_killed() {
    let mut lan = Lan::start("pools", &["a", "b", "c"], &json!({}));
    for vip in VIPS {
        let first = lan.settled(vip);
        // Its agent dies: neighbours are told, though they have the address of the dead one.
        let began = Instant::now();
        lan.cluster.agent_mut(first).crash().unwrap();
        lan.reached(vip, "another", |node| node != first);
        println!(
            "{vip} is another's {:?} after the death of an agent",
            began.elapsed()
        );
        lan.cluster.agent_mut(first).restart().unwrap();
        lan.reached(vip, "the first one again", |node| node == first);
        assert_eq!(lan.settled(vip), first);
        // Its link is cut. What its pod would have served nobody else can.
        let others = lan.pods.iter().enumerate().filter(|(i, _)| *i != first);
        let others: Vec<&Pod> = others.map(|(_, pod)| pod).collect();
        lan.cluster.endpoints("web", &others).unwrap();
        let gone = lan.pods[first].name();
        let to = SocketAddr::new(vip.parse().unwrap(), SERVICE_PORT);
        lan.cluster
            .eventually("its pod to serve nobody", || {
                let ask = || ask_tcp(lan.cluster.world().outside(), to);
                let others = |_| ask().is_ok_and(|answer| answer.name != gone);
                (0..20).all(others).then_some(())
            })
            .unwrap();
        let node = lan.cluster.node(first);
        let began = Instant::now();
        node.batch("link set eth0 down\n").unwrap();
        lan.reached(vip, "another", |node| node != first);
        println!(
            "{vip} is another's {:?} after a link was cut",
            began.elapsed()
        );
        let up = "link set eth0 up\nroute replace default via 172.30.0.1\n\
                  addr replace fd30::ADDRESS/64 dev eth0 nodad\nroute replace ::/0 via fd30::1\n";
        let own = node.addresses()[1].to_string();
        node.batch(&up.replace("fd30::ADDRESS", &own)).unwrap();
        lan.reached(vip, "the first one again", |node| node == first);
        assert_eq!(lan.settled(vip), first);
        lan.serve(&VIPS, &json!({}));
    }
}

#[test]
fn nobody_answers_for_what_is_not_given() {
    let lan = Lan::start("pools-not", &["a", "b"], &json!({}));
    for vip in VIPS {
        lan.settled(vip);
    }
    // An address of the pool that nobody has, and one that another's Service has.
    let outside = lan.cluster.world().outside();
    for ip in ["172.30.0.201", "172.30.0.99", "fd30::201", "fd30::99"] {
        let to = SocketAddr::new(ip.parse().unwrap(), SERVICE_PORT);
        assert!(ask_tcp(outside, to).is_err(), "{to}");
        assert_eq!(lan.found(ip), None, "{ip}");
    }
    // It is taken away.
    lan.serve(&["172.30.0.202", "fd30::202"], &json!({}));
    for ip in ["172.30.0.202", "fd30::202"] {
        lan.settled(ip);
    }
    for ip in VIPS {
        lan.cluster
            .eventually("nobody to answer", || {
                lan.forget();
                let to = SocketAddr::new(ip.parse().unwrap(), SERVICE_PORT);
                (ask_tcp(outside, to).is_err() && lan.found(ip).is_none()).then_some(())
            })
            .unwrap();
    }
}

#[test]
fn with_local_traffic_only_a_node_with_an_endpoint_answers() {
    let local = json!({ "externalTrafficPolicy": "Local" });
    let mut lan = Lan::start("pools-local", &["a", "b", "c"], &local);
    for keep in [1, 2] {
        let pod = lan.pods.remove(keep);
        let all = std::mem::replace(&mut lan.pods, vec![pod]);
        lan.serve(&VIPS, &local);
        let kept = lan.pods.remove(0);
        lan.pods = all;
        lan.pods.insert(keep, kept);
        for vip in VIPS {
            lan.reached(vip, "the node with the endpoint", |node| node == keep);
            assert_eq!(lan.settled(vip), keep);
        }
    }
}

/// A neighbour asks again from time to time, then of the one that it knows (RFC 4861, 7.3).
#[test]
fn whoever_asks_again_is_answered() {
    let lan = Lan::start("pools-again", &["a", "b"], &json!({}));
    let outside = lan.cluster.world().outside();
    for vip in VIPS {
        lan.settled(vip);
        let link = outside.run(&["ip", "-o", "route", "get", vip]).unwrap();
        let device = link
            .split_whitespace()
            .skip_while(|w| *w != "dev")
            .nth(1)
            .unwrap();
        let mac = lan.found(vip).unwrap();
        let stale = [
            "ip", "neigh", "replace", vip, "lladdr", &mac, "dev", device, "nud", "probe",
        ];
        outside.run(&stale).unwrap();
        lan.cluster
            .eventually("an answer to a probe", || {
                let said = outside.run(&["ip", "neigh", "show", "to", vip]).ok()?;
                said.contains("REACHABLE").then_some(())
            })
            .unwrap();
    }
}
