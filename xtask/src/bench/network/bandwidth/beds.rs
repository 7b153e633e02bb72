//! Limited pods beside a free one, on a node of Weir's and on one of the reference plugin's.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use weir_world::{Agent, Manifests, Node, Plugin, Pod, World};

use super::{By, LIMITS};
use crate::tools::go;

/// Bits that containerd names as burst, whatever the limit.
const THEIR_BURST: u64 = u32::MAX as u64;
/// Bits at least of the burst that Weir takes, and milliseconds of the rate.
const LEAST_BURST: u64 = (72 << 10) * 8;
const BURST_MS: u64 = 20;

/// A free pod, and one for each limit.
type Pods = (Pod, Vec<Pod>);

/// It.
pub(super) struct Beds {
    reference: Pods,
    their_burst: Pods,
    weir: Pods,
    _agent: Agent,
    _manifests: Manifests,
}

impl Beds {
    pub(super) fn new() -> Result<Self> {
        let world = World::new("limits")?;
        let node = world.node("weir")?;
        let manifests = Manifests::new()?;
        let agent = Agent::start(&node, &manifests, &[])?;
        Ok(Self {
            reference: theirs(&world.node("reference")?, |limit| {
                LEAST_BURST.max(limit * BURST_MS / 1000)
            })?,
            their_burst: theirs(&world.node("burst")?, |_| THEIR_BURST)?,
            weir: ours(&node, &manifests)?,
            _agent: agent,
            _manifests: manifests,
        })
    }

    /// The free pod, and the limited one.
    pub(super) fn pods(&self, by: By, limit: usize) -> Result<(&Pod, &Pod)> {
        let (free, limited) = match by {
            By::Reference => &self.reference,
            By::TheirBurst => &self.their_burst,
            By::Weir => &self.weir,
        };
        Ok((free, limited.get(limit).context("no such limit")?))
    }
}

/// What a runtime tells of a limit in both directions.
fn told(limit: u64, burst: u64) -> Value {
    json!({
        "ingressRate": limit, "ingressBurst": burst,
        "egressRate": limit, "egressBurst": burst,
    })
}

fn ours(node: &Node, manifests: &Manifests) -> Result<Pods> {
    let plugin = Plugin::weir()?;
    let labels = json!({});
    manifests.pending_pod(node, "free", &labels)?;
    let free = node.pod(&plugin, "free")?;
    manifests.running_pod(&free, &labels)?;
    let limited = LIMITS.iter().enumerate().map(|(number, (limit, _))| {
        let name = format!("limited{number}");
        let annotations = json!({
            "kubernetes.io/ingress-bandwidth": limit.to_string(),
            "kubernetes.io/egress-bandwidth": limit.to_string(),
        });
        manifests.annotated_pod(node, &name, &[], &annotations)?;
        let plugin = plugin.clone().with_bandwidth(&told(*limit, THEIR_BURST));
        let pod = node.pod(&plugin, &name)?;
        manifests.annotated_pod(node, &name, &pod.addresses(), &annotations)?;
        Ok(pod)
    });
    Ok((free, limited.collect::<Result<_>>()?))
}

fn theirs(node: &Node, burst: impl Fn(u64) -> u64) -> Result<Pods> {
    let free = node.plain_pod("free")?;
    let limited = LIMITS.iter().enumerate().map(|(number, (limit, _))| {
        let pod = node.plain_pod(&format!("limited{number}"))?;
        limit_by_plugin(node, &pod, &told(*limit, burst(*limit)))?;
        Ok(pod)
    });
    Ok((free, limited.collect::<Result<_>>()?))
}

/// Chained after whoever has wired the pod.
fn limit_by_plugin(node: &Node, pod: &Pod, told: &Value) -> Result<()> {
    let netns = format!("/run/netns/{}", pod.name());
    let route = node.run(&["ip", "-o", "route", "get", &pod.ipv4().to_string()])?;
    let mut words = route.split_whitespace();
    words.find(|word| *word == "dev");
    let host = words.next().context("no interface of the pod")?;
    let configuration = json!({
        "cniVersion": "1.0.0",
        "name": "bench",
        "type": "bandwidth",
        "runtimeConfig": { "bandwidth": told },
        "prevResult": {
            "cniVersion": "1.0.0",
            "interfaces": [{ "name": host }, { "name": "eth0", "sandbox": netns }],
            "ips": [{ "address": format!("{}/32", pod.ipv4()), "interface": 1 }],
        },
    });
    let environment = [
        ("CNI_CONTAINERID", pod.name()),
        ("CNI_NETNS", netns.as_str()),
    ];
    let plugin = Plugin::new(go::BANDWIDTH.ensure()?, configuration.clone());
    plugin.call(node, "ADD", &environment, &configuration)?;
    let shown = node.run(&["tc", "qdisc", "show", "dev", host])?;
    ensure!(shown.contains("tbf"), "no limit at {host}: {shown}");
    Ok(())
}
