//! XDP on uplinks, with real sockets; put on and taken off under live connections.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::{
    datapath::reader,
    served::{ask_all, await_answer, serve},
    wire::Ends,
    world::{
        Cluster, Node, Place, Pod, Server, Talk,
        cluster::{POD_PORT, SERVICE_PORT},
    },
};

/// Of the Service whose backend is on the other node.
const FAR: u16 = 30080;
/// Of the Service whose backend is on the node that is asked.
const NEAR: u16 = 30081;
/// What the status says of an uplink that has XDP.
const LIVE: &str = "eth0 native";

/// Two nodes, a pod that serves on each behind a `NodePort`, and a configuration that can be changed.
struct Lab {
    _servers: Vec<Server>,
    pods: [Pod; 2],
    cluster: Cluster,
    folder: TempDir,
    sample: u32,
}

fn node_port(port: u16) -> Value {
    let of = |name: &str, protocol: &str| json!({ "name": name, "protocol": protocol, "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": port });
    json!({ "type": "NodePort", "ports": [of("tcp", "TCP"), of("udp", "UDP")] })
}

fn write(path: &PathBuf, xdp: &str, sample: u32) {
    let head = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n";
    let logging = format!("logging: {{ xdpSample: {sample} }}\n");
    let new = path.with_extension("new");
    fs::write(&new, format!("{head}xdp: \"{xdp}\"\n{logging}")).unwrap();
    fs::rename(new, path).unwrap();
}

impl Lab {
    fn start(name: &str, xdp: &str) -> Self {
        Self::telling(name, xdp, 0)
    }

    /// Whose agents log one of so many packets that XDP sends.
    fn telling(name: &str, xdp: &str, sample: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.yaml");
        write(&path, xdp, sample);
        let flags = ["--map-size", "small", "--config", path.to_str().unwrap()];
        let cluster = Cluster::start(name, &["a", "b"], &flags).unwrap();
        let pods = [
            cluster.pod(0, "near").unwrap(),
            cluster.pod(1, "far").unwrap(),
        ];
        let servers = pods.iter().flat_map(|pod| serve(pod).unwrap()).collect();
        let [near, far] = &pods;
        cluster
            .service("near", 81, &[near], &node_port(NEAR))
            .unwrap();
        cluster.service("far", 80, &[far], &node_port(FAR)).unwrap();
        let lab = Self {
            _servers: servers,
            pods,
            cluster,
            folder,
            sample,
        };
        for port in [NEAR, FAR] {
            for to in lab.at(port) {
                await_answer(&lab.cluster, lab.outside(), to).unwrap();
            }
        }
        lab
    }

    fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    fn outside(&self) -> &Place {
        self.cluster.world().outside()
    }

    /// A port of the first node, in both families.
    fn at(&self, port: u16) -> [SocketAddr; 2] {
        self.node().addresses().map(|ip| SocketAddr::new(ip, port))
    }

    /// Makes the other ends of both nodes' uplinks ready.
    fn ends(&self) -> Ends {
        Ends::ready(self.outside(), &["port1", "port2"]).unwrap()
    }

    /// Says in the configuration where XDP is to be, and waits until it is there, on both nodes.
    fn switch(&self, xdp: &str, live: &str) {
        write(&self.folder.path().join("weir.yaml"), xdp, self.sample);
        self.is_live(live);
    }

    /// Waits until the status of both nodes says so of their uplinks.
    fn is_live(&self, live: &str) {
        for node in 0..2 {
            let agent = self.cluster.agent(node);
            let row = || {
                let (_, text) = agent.proxyctl_verdict(&["status"]).unwrap();
                let mut lines = text.lines();
                let row = lines.find(|line| line.starts_with("XDP "))?;
                row.contains(live).then_some(())
            };
            self.cluster
                .eventually(&format!("XDP: {live}"), row)
                .unwrap();
        }
    }

    /// Frames that XDP of the first node has sent back.
    fn sent_back(&self) -> u64 {
        self.counted("back")
    }

    /// Frames that XDP saw, with this verdict.
    fn counted(&self, verdict: &str) -> u64 {
        let verdicts = reader(self.node()).unwrap().maps().drops.xdp().unwrap();
        let found = verdicts.into_iter().find(|(name, _)| *name == verdict);
        found.unwrap().1.packets
    }

    /// Both Services answer in both families by TCP and UDP.
    fn serves(&self) {
        for (port, name) in [(NEAR, "near"), (FAR, "far")] {
            for to in self.at(port) {
                assert_eq!(ask_all(self.outside(), to), [name; 3], "{to}");
            }
        }
    }

    fn talks(&self) -> Vec<Talk> {
        let to = self.at(NEAR).into_iter().chain(self.at(FAR));
        to.map(|to| Talk::open(self.outside(), to).unwrap())
            .collect()
    }
}

/// What is logged of packets.
fn told(lab: &Lab) -> Vec<String> {
    let log = lab.cluster.agent(0).log();
    let lines = log
        .lines()
        .filter(|line| line.contains("packet dropped") || line.contains("packet sent"));
    lines.map(str::to_owned).collect()
}

#[test]
fn what_xdp_sends_is_seen_as_it_came_and_as_it_was_sent() {
    let lab = Lab::telling("xdp-told", "native", 1);
    let _ends = lab.ends();
    lab.is_live(LIVE);
    let [far4, far6] = lab.pods[1].addresses();
    for (to, far) in lab.at(FAR).into_iter().zip([far4, far6]) {
        let before = lab.sent_back();
        ask_all(lab.outside(), to);
        assert!(lab.sent_back() > before, "{to}");
        let far = SocketAddr::new(far, POD_PORT);
        for protocol in ["TCP", "UDP"] {
            let question = [
                format!("destination=\"{to}\""),
                format!("sent_destination=\"{far}\""),
                "to=\"default/far\"".to_owned(),
            ];
            let answer = [
                format!("source=\"{far}\""),
                format!("sent_source=\"{to}\""),
                "from=\"default/far\"".to_owned(),
            ];
            for words in [question, answer] {
                let what = format!("a line of {protocol} with {words:?}");
                let find = || {
                    let mut lines = told(&lab).into_iter();
                    lines.find(|line| {
                        line.contains("packet sent by XDP")
                            && line.contains("verdict=\"back\" interface=eth0")
                            && line.contains(&format!("protocol=\"{protocol}\""))
                            && words.iter().all(|word| line.contains(word))
                    })
                };
                lab.cluster.eventually(&what, find).unwrap();
            }
        }
    }
    // Of those that are dropped nobody asked.
    assert!(told(&lab).iter().all(|line| line.contains("packet sent")));
}

#[test]
fn of_many_that_xdp_sends_few_are_told_of_and_by_itself_none() {
    for (name, sample) in [("xdp-silent", 0), ("xdp-rare", u32::MAX)] {
        let lab = Lab::telling(name, "native", sample);
        let _ends = lab.ends();
        lab.is_live(LIVE);
        lab.serves();
        assert!(lab.sent_back() >= 12);
        assert_eq!(told(&lab), [""; 0]);
    }
}

fn go_on(talks: &mut [Talk]) {
    for talk in talks {
        talk.stream(1 << 16).unwrap();
    }
}

#[test]
fn xdp_forwards_and_tc_does_the_rest() {
    let lab = Lab::start("xdp", "off");
    let _ends = lab.ends();
    lab.serves();
    assert_eq!(lab.sent_back(), 0);
    lab.switch("native", LIVE);
    lab.serves();
    // Three ways of asking in two families, each there and back.
    let sent = lab.sent_back();
    assert!(sent >= 12, "{sent}");
    go_on(&mut lab.talks());
    assert!(lab.sent_back() > sent + 40, "{sent}");
}

/// What a `veth` brings from a socket of the same machine has no checksum yet: tc knows how to turn it.
#[test]
fn frames_without_checksums_are_left_to_tc() {
    let lab = Lab::start("xdp-unfinished", "native");
    lab.is_live(LIVE);
    lab.serves();
    go_on(&mut lab.talks());
    // Those that the kernel sends for no socket, a RST or the last ACK, have theirs.
    let [back, up] = [lab.sent_back(), lab.counted("up")];
    assert!(back * 20 < up, "{back} sent back, {up} left to tc");
}

#[test]
fn connections_live_through_every_change() {
    let lab = Lab::start("xdp-switch", "off");
    let _ends = lab.ends();
    let mut talks = lab.talks();
    for (xdp, live) in [
        ("native", LIVE),
        ("off", "none"),
        ("native", LIVE),
        ("off", "none"),
    ] {
        go_on(&mut talks);
        talks.extend(lab.talks());
        lab.switch(xdp, live);
        let before = lab.sent_back();
        go_on(&mut talks);
        assert_eq!(lab.sent_back() > before, xdp != "off", "{xdp}");
    }
}

#[test]
fn by_itself_it_is_on_no_veth_and_says_why() {
    let lab = Lab::start("xdp-auto", "auto");
    lab.is_live("eth0 none (the other end of a veth would need XDP too");
    lab.serves();
    assert_eq!(lab.sent_back(), 0);
}

/// What the kernel says of XDP at the first node's uplink.
fn attached(lab: &Lab) -> bool {
    let told = lab.node().run(&["ip", "-d", "link", "show", "eth0"]);
    told.unwrap().contains("xdp")
}

#[test]
fn it_outlives_the_agent_is_taken_over_and_cleaned_up() {
    let mut lab = Lab::start("xdp-outlives", "native");
    let _ends = lab.ends();
    lab.is_live(LIVE);
    let mut talks = lab.talks();
    lab.cluster.agent_mut(0).crash().unwrap();
    let before = lab.sent_back();
    go_on(&mut talks);
    lab.serves();
    assert!(lab.sent_back() > before);
    lab.cluster.agent_mut(0).restart().unwrap();
    lab.is_live(LIVE);
    go_on(&mut talks);
    lab.cluster.agent_mut(0).crash().unwrap();
    assert!(attached(&lab));
    let program = weir_tests::world::program("proxy-agent").unwrap();
    let words = [program.to_str().unwrap(), "cleanup"];
    lab.node().run(&words).unwrap();
    let gone = || (!attached(&lab)).then_some(());
    lab.cluster.eventually("no XDP", gone).unwrap();
}
