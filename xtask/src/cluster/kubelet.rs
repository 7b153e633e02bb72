//! kubelet on a node.

use anyhow::Result;
use serde_json::json;

use super::lab::{Lab, Node};
use super::place::Place;
use super::runtime::SOCKET;
use super::shape::{DNS, Shape};
use crate::tools::go;

/// Starts kubelet.
pub(crate) fn start(lab: &Lab, shape: Shape, node: Node) -> Result<()> {
    let config = lab.node_file(node, "kubelet.json");
    Lab::write(&config, &self::config(shape, node))?;
    let args = [
        format!("--config={}", config.display()),
        format!("--kubeconfig={}", lab.kubeconfig().display()),
        format!("--hostname-override={}", node.name()),
        format!("--node-ip={}", shape.node_ip(node)),
        format!(
            "--node-labels=topology.kubernetes.io/zone={},topology.kubernetes.io/region=lab",
            node.zone()
        ),
        "--cert-dir=/var/lib/kubelet/pki".to_owned(),
    ];
    Place::node(lab, node).daemon("kubelet", &go::KUBELET.ensure()?, &args, None)
}

fn config(shape: Shape, node: Node) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.cgroup()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": true,
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "clusterDNS": [shape.families.first(DNS)],
        // The lab shares one disk with everything else; it must not evict pods because of others.
        "evictionHard": { "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "imageGCHighThresholdPercent": 100,
        // Pods come and go by the hundred in upstream's tests.
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    })
    .to_string()
}
