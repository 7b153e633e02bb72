//! Packets in the agent's log, dropped ones and those that XDP sends: told of where the configuration asks for it, and only there.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use socket2::{Domain, Type};
use weir_tests::{
    datapath::drops,
    world::{Cluster, Pod, cluster::POD_PORT},
};

/// One node with a server that hears nobody, and its client.
struct Denied {
    server: Pod,
    client: Pod,
    // Last, for pods end in it.
    cluster: Cluster,
}

impl Denied {
    fn start(name: &str, flags: &[&str]) -> Self {
        let cluster = Cluster::start(name, &["a"], flags).unwrap();
        let server = cluster.pod(0, "server").unwrap();
        let policy = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": { "name": "nobody", "namespace": "default" },
            "spec": { "podSelector": { "matchLabels": { "app": "server" } } },
        });
        cluster
            .manifests()
            .apply_objects("policy.yaml", &[policy])
            .unwrap();
        let client = cluster.pod(0, "client").unwrap();
        // A packet that is dropped before that would be told of without its name.
        let denied = [
            "policy",
            "why",
            "default/client",
            "default/server",
            "8080/UDP",
        ];
        let known = || {
            let (code, _) = cluster.agent(0).proxyctl_verdict(&denied).ok()?;
            (code == 1).then_some(())
        };
        cluster.eventually("both pods to be known", known).unwrap();
        Self {
            server,
            client,
            cluster,
        }
    }

    /// Asks by UDP until that is counted; from where.
    fn ask(&self, from: IpAddr, to: SocketAddr, wanted: u64) -> SocketAddr {
        let socket = self.client.udp((from, 0).into()).unwrap();
        self.cluster
            .eventually("the policy to be in force", || {
                socket.send_to(b"anybody there", to).unwrap();
                let counted = drops(self.cluster.node(0)).unwrap().into_iter();
                let denied = counted.filter(|(reason, _)| *reason == "policy-ingress");
                (denied.map(|(_, count)| count).sum::<u64>() >= wanted).then_some(())
            })
            .unwrap();
        socket.local_addr().unwrap()
    }

    /// Begins to connect; from where.
    fn knock(&self, to: SocketAddr) -> SocketAddr {
        let socket = self.client.socket(Domain::for_address(to), Type::STREAM);
        let socket = socket.unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&to.into()).unwrap_err();
        socket.local_addr().unwrap().as_socket().unwrap()
    }

    /// The line of the log that has this of a packet.
    fn line(&self, packet: &str) -> String {
        let find = || {
            let log = self.cluster.agent(0).log();
            let mut lines = log.lines().filter(|line| line.contains("packet dropped"));
            lines.find(|line| line.contains(packet)).map(str::to_owned)
        };
        let what = format!("a line about {packet}");
        self.cluster.eventually(&what, find).unwrap()
    }
}

#[test]
fn each_dropped_packet_is_told_of_with_its_reason() {
    let denied = Denied::start("droplog", &["--log-drops", "true"]);
    let [v4, v6] = denied.server.at(POD_PORT);
    let mut wanted = Vec::new();
    for (count, (from, to)) in (1..).zip(denied.client.addresses().into_iter().zip([v4, v6])) {
        let from = denied.ask(from, to, count);
        wanted.push(format!(
            "protocol=\"UDP\" source=\"{from}\" destination=\"{to}\""
        ));
        let from = denied.knock(to);
        wanted.push(format!(
            "protocol=\"TCP\" source=\"{from}\" destination=\"{to}\""
        ));
    }
    for (to, kind) in [(v4, "ICMP\" icmp_type=8"), (v6, "ICMPv6\" icmp_type=128")] {
        // Nobody answers.
        let ping = format!("busybox ping -c 1 -W 1 {} || true", to.ip());
        denied.client.run(&["sh", "-c", &ping]).unwrap();
        wanted.push(format!("protocol=\"{kind}"));
    }
    let links = denied.cluster.node(0).run(&["ip", "-o", "link"]).unwrap();
    for packet in wanted {
        let line = denied.line(&packet);
        for more in [
            "reason=\"policy-ingress\"",
            "from=\"default/client\" to=\"default/server\"",
        ] {
            assert!(line.contains(more), "{line}");
        }
        let interface = line.split("interface=").nth(1).unwrap();
        let interface = format!(": {}", interface.split(' ').next().unwrap());
        assert!(links.contains(&interface), "{line}\n{links}");
    }
}

#[test]
fn nothing_is_told_of_where_nobody_asks() {
    let denied = Denied::start("nodroplog", &[]);
    let [from, _] = denied.client.addresses();
    let [to, _] = denied.server.at(POD_PORT);
    denied.ask(from, to, 1);
    let log = denied.cluster.agent(0).log();
    assert!(!log.contains("packet dropped"), "{log}");
}
