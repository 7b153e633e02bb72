//! Who is flooded: a node with a pod that serves the flood's target, and others that live beside it.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use serde_json::json;
use tempfile::NamedTempFile;
use weir_tests::{
    datapath::drops,
    flood::Responder,
    served::{await_answer, serve},
    world::{
        Cluster, Node, Place, Pod, Server,
        cluster::{POD_PORT, SERVICE_PORT},
    },
};

/// Where the flood goes.
const TARGET: u16 = 30080;
/// Where others are served.
const WEB: u16 = 30081;
/// Datagrams that nobody answers, or once, are kept so long: what the configuration allows to be shortened.
const CONFIG: &str =
    "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\nconntrack: {udpTimeout: 3s}\n";

/// Ended in this order.
pub(crate) struct Bed {
    _responders: Vec<Responder>,
    _servers: Vec<Server>,
    pub(crate) client: Pod,
    target: Pod,
    _web: Pod,
    vip: [IpAddr; 2],
    pub(crate) cluster: Cluster,
    _config: NamedTempFile,
}

impl Bed {
    /// A node whose maps have this size.
    pub(crate) fn start(size: &str) -> Self {
        let mut config = NamedTempFile::new().unwrap();
        config.write_all(CONFIG.as_bytes()).unwrap();
        let path = config.path().to_str().unwrap();
        // Packet by packet, so that clients of Services have flows that are translated.
        let flags = [
            "--config",
            path,
            "--map-size",
            size,
            "--socket-balancing",
            "false",
        ];
        let cluster = Cluster::start("flood", &["a"], &flags).unwrap();
        let [client, target, web] =
            ["client", "target", "web"].map(|name| cluster.pod(0, name).unwrap());
        let [vip, _] = [("web", 81, WEB, &web), ("target", 80, TARGET, &target)]
            .map(|(name, number, node_port, pod)| service(&cluster, name, number, node_port, pod));
        let mut servers = serve(&web).unwrap();
        let at = target.at(POD_PORT);
        servers.extend(at.map(|at| Server::tcp(&target, at, "target").unwrap()));
        let responders = at.map(|at| Responder::start(&target, at).unwrap()).into();
        let bed = Self {
            _responders: responders,
            _servers: servers,
            client,
            target,
            _web: web,
            vip,
            cluster,
            _config: config,
        };
        for (place, to) in bed.ways() {
            await_answer(&bed.cluster, &place, to).unwrap();
        }
        bed
    }

    pub(crate) fn node(&self) -> &Node {
        self.cluster.node(0)
    }

    /// Hardware address to which frames for the node go.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let text = self
            .node()
            .run(&["cat", "/sys/class/net/eth0/address"])
            .unwrap();
        let bytes = text
            .trim()
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap());
        bytes.collect::<Vec<u8>>().try_into().unwrap()
    }

    /// Where the flood goes: both families, to the pod itself and by the node's port.
    pub(crate) fn targets(&self) -> [SocketAddr; 4] {
        let [pod4, pod6] = self.target.at(POD_PORT);
        let [node4, node6] = self
            .node()
            .addresses()
            .map(|ip| SocketAddr::new(ip, TARGET));
        [pod4, node4, pod6, node6]
    }

    /// Who is served beside the flood, and where: from outside by the node's port, and from a pod by the Service.
    pub(crate) fn ways(&self) -> Vec<(Place, SocketAddr)> {
        let outside = self.cluster.world().outside();
        let by_port = self.node().addresses().map(|ip| SocketAddr::new(ip, WEB));
        let by_service = self.vip.map(|ip| SocketAddr::new(ip, SERVICE_PORT));
        let from_outside = by_port.map(|to| (outside.clone(), to));
        let from_pod = by_service.map(|to| ((*self.client).clone(), to));
        from_outside.into_iter().chain(from_pod).collect()
    }

    /// TCP at the very port that is flooded.
    pub(crate) fn flooded(&self) -> Vec<(Place, SocketAddr)> {
        let outside = self.cluster.world().outside();
        let [pod4, node4, pod6, node6] = self.targets();
        vec![
            (outside.clone(), node4),
            (outside.clone(), node6),
            ((*self.client).clone(), pod4),
            ((*self.client).clone(), pod6),
        ]
    }

    /// Packets that have left the node: all but a few are answers.
    pub(crate) fn answers(&self) -> u64 {
        let file = "/sys/class/net/eth0/statistics/tx_packets";
        self.node()
            .run(&["cat", file])
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    /// For a test that fails.
    pub(crate) fn said(&self) -> String {
        let agent = self.cluster.agent(0);
        let dump = |what| agent.proxyctl_verdict(&["dump", what, "-o", "wide"]);
        let said = format!(
            "dropped {:?}\n{:?}\n{:?}\n{}",
            self.drops(),
            dump("conntrack"),
            dump("services"),
            agent.log(),
        );
        said.replace("\\n", "\n")
    }

    /// Dropped packets by reason.
    pub(crate) fn drops(&self) -> BTreeMap<&'static str, u64> {
        drops(self.node()).unwrap()
    }
}

fn service(cluster: &Cluster, name: &str, number: u8, node_port: u16, pod: &Pod) -> [IpAddr; 2] {
    let ports = ["TCP", "UDP"].map(|protocol| {
        json!({
            "name": protocol.to_lowercase(), "protocol": protocol,
            "port": SERVICE_PORT, "targetPort": POD_PORT, "nodePort": node_port,
        })
    });
    let wish = json!({ "type": "NodePort", "ports": ports });
    cluster.service(name, number, &[pod], &wish).unwrap()
}
