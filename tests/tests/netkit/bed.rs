//! Two nodes, two pods on the first and one on the second, of which two serve.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use weir_tests::{
    datapath::drops,
    devices::best,
    modes::Mode,
    served::{await_answer, serve},
    world::{Cluster, Place, Pod, Server, Talk, ask_tcp, ask_udp, until},
};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// It.
pub(super) struct Bed {
    pub(super) near: Pod,
    pub(super) other: Pod,
    pub(super) far: Pod,
    pub(super) servers: Vec<Server>,
    pub(super) cluster: Cluster,
}

impl Bed {
    pub(super) fn start(mode: Mode) -> Self {
        let flags = [&["--map-size", "small"], mode].concat();
        let cluster = Cluster::start("netkit", &["a", "b"], &flags).unwrap();
        let near = cluster.pod(0, "near").unwrap();
        let other = cluster.pod(0, "other").unwrap();
        let far = cluster.pod(1, "far").unwrap();
        let servers = [&near, &far].map(|pod| serve(pod).unwrap());
        let bed = Self {
            near,
            other,
            far,
            servers: servers.into_iter().flatten().collect(),
            cluster,
        };
        for pod in [&bed.near, &bed.other, &bed.far] {
            is_of_kind(pod, best().name());
        }
        bed
    }

    /// Whoever asks there is answered by `name`, and gets what fills windows through.
    pub(super) fn asks(&self, from: &Place, to: SocketAddr, name: &str) {
        await_answer(&self.cluster, from, to).unwrap();
        assert_eq!(ask_tcp(from, to).unwrap().name, name, "{to}");
        assert_eq!(ask_udp(from, to, b"?").unwrap().name, name, "{to}");
        let mut talk = Talk::open(from, to).unwrap();
        talk.stream(1 << 18)
            .unwrap_or_else(|error| panic!("{to}: {error}\n{}", self.cluster.logs()));
    }

    pub(super) fn dropped(&self, node: usize, reason: &str) -> u64 {
        let drops = drops(self.cluster.node(node)).unwrap();
        drops.get(reason).copied().unwrap_or(0)
    }

    pub(super) fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        until(what, PATIENCE, || Ok(holds().then_some(())))
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.cluster.logs()));
    }
}

/// The kernel's word for the pod's side.
pub(super) fn is_of_kind(pod: &Pod, kind: &str) {
    let told = pod
        .run(&["ip", "-details", "link", "show", "eth0"])
        .unwrap();
    assert!(told.split_whitespace().any(|word| word == kind), "{told}");
}

/// What is recorded of a node's pods, by name of the pod.
pub(super) fn recorded(cluster: &Cluster, node: usize) -> Vec<(String, String)> {
    let told = cluster
        .agent(node)
        .proxyctl(&["cni", "list", "-o", "json"])
        .unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = told["items"].as_array().unwrap().iter();
    rows.map(|row| (word(row, "pod"), word(row, "device")))
        .collect()
}
