//! What Weir is compared with: kube-proxy in nftables mode, pods wired by the reference plugins.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use weir_world::{Node, Plugin, Pod, Process, World, until};

use super::Pods;
use crate::{
    bench::{api::Api, kube_proxy::start, objects},
    tools::go,
};

/// How long 10 000 Services may take.
const SYNC_LIMIT: Duration = Duration::from_mins(5);

/// A bed with real kube-proxies and their API server.
pub(crate) struct KubeProxy {
    pub(crate) pods: Pods,
    // Both end before the nodes, and so their world.
    _proxies: Vec<Process>,
    api: Api,
    nodes: [Node; 2],
    services: usize,
}

impl KubeProxy {
    pub(crate) fn new() -> Result<Self> {
        go::ensure(&go::PLUGINS)?;
        let world = World::new("kube-proxy")?;
        let nodes = super::nodes(&world)?;
        let api = Api::start(&world)?;
        let pods = Pods::new(&nodes, reference_pod)?;
        let proxies = nodes
            .iter()
            .map(|node| start(node, &api))
            .collect::<Result<_>>()?;
        api.create(&pods.services())?;
        Ok(Self {
            pods,
            _proxies: proxies,
            api,
            nodes,
            services: 2,
        })
    }

    /// Adds Services until there are `count`, and waits until both nodes serve them all.
    pub(crate) fn set_services(&mut self, count: usize) -> Result<()> {
        if count > self.services {
            self.api
                .create(&objects::fillers(self.services, count, 1))?;
            self.services = count;
        }
        for node in &self.nodes {
            let what = format!(
                "{} Services in kube-proxy on {}",
                self.services,
                node.name()
            );
            until(&what, SYNC_LIMIT, || {
                Ok((programmed(node) >= self.services).then_some(()))
            })?;
        }
        Ok(())
    }
}

/// Service addresses in kube-proxy's table.
fn programmed(node: &Node) -> usize {
    // Absent until its first sync.
    let list = node
        .run(&["nft", "list", "map", "ip", "kube-proxy", "service-ips"])
        .unwrap_or_default();
    list.matches(" : goto").count()
}

/// A pod wired by ptp and host-local, IPv4 only: with IPv6 ptp waits for address detection, for no gain here.
fn reference_pod(node: &Node, name: &str) -> Result<Pod> {
    let ptp = go::PTP.ensure()?;
    let [range, _] = node.pod_ranges();
    let configuration = json!({
        "cniVersion": "1.0.0",
        "name": "bench",
        "type": "ptp",
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/host-local",
            "ranges": [[{ "subnet": range }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
        },
    });
    node.pod(&Plugin::new(ptp, configuration), name)
}
