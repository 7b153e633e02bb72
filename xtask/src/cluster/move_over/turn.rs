//! What the turn of a node has in common, there and back.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::connections::find;
use super::workload::{self, Pod, call, get};
use super::{By, Journey};
use crate::cluster::helm::{self, Values};
use crate::cluster::lab::Node;
use crate::cluster::place::Place;
use crate::cluster::wait;
use crate::{paths, run, say};

/// The label by which a node is Weir's.
const LABEL: &str = "weir.dev/moved";
/// Weir's manifests for nodes that have it.
pub(super) const MOVING: &str = "tests/cluster/manifests/weir-moving";
/// Routes to pods that Weir has wired have this protocol.
const WIRED: &str = "88";

impl Journey<'_> {
    /// Evicts what can be made anew elsewhere, or later.
    pub(super) fn drain(&self, node: Node) -> Result<()> {
        let name = node.name();
        say::step(&format!("drain {name}"), || {
            let args = ["drain", &name, "--ignore-daemonsets", "--timeout=120s"];
            call(self.lab, &args).map(drop)
        })
    }

    /// Lets pods come again, and waits for them.
    pub(super) fn uncordon(&self, node: Node) -> Result<()> {
        call(self.lab, &["uncordon", &node.name()])?;
        workload::ready(self.lab, self.shape)
    }

    /// Makes a node Weir's, or not.
    pub(super) fn label(&self, node: Node, weirs: bool) -> Result<()> {
        let label = if weirs {
            format!("{LABEL}=true")
        } else {
            format!("{LABEL}-")
        };
        call(self.lab, &["label", "node", &node.name(), &label]).map(drop)
    }

    /// The pods of Weir's on a node.
    fn agents(&self, node: Node) -> Result<Vec<Value>> {
        let on = format!("--field-selector=spec.nodeName={}", node.name());
        let label = "--selector=weir.dev/component=agent";
        get(self.lab, &["pods", "--namespace=kube-system", label, &on])
    }

    /// The name of the one.
    pub(super) fn agent_pod(&self, node: Node) -> Result<String> {
        let agents = self.agents(node)?;
        let name = agents
            .first()
            .and_then(|pod| pod["metadata"]["name"].as_str());
        let name = name.with_context(|| format!("{} has no agent", node.name()))?;
        Ok(name.to_owned())
    }

    /// Waits for Weir's agent of a node to be ready, or to be gone.
    pub(super) fn agent(&self, node: Node, there: bool) -> Result<()> {
        let wanted = if there {
            "agent is ready"
        } else {
            "agent is gone"
        };
        say::step(&format!("wait until {}'s {wanted}", node.name()), || {
            wait::until("Weir's agent", || {
                let pods = self.agents(node)?;
                let conditions = pods.iter().flat_map(|pod| {
                    let all = pod["status"]["conditions"].as_array();
                    all.into_iter().flatten()
                });
                let mut conditions = conditions;
                let ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
                Ok(if there { ready } else { pods.is_empty() })
            })
        })
    }

    /// Applies Weir's manifests: on nodes that are its turn (`moving`), or on all.
    pub(super) fn apply(&self, moving: bool) -> Result<()> {
        if self.by == By::Helm {
            let only = moving.then_some((LABEL, "true"));
            return helm::upgrade(self.lab, Values { only, set: &[] });
        }
        let overlay = if moving {
            MOVING
        } else {
            "deploy/overlays/lab"
        };
        let overlay = paths::root().join(overlay);
        let mut apply = crate::cluster::kubectl(self.lab)?;
        run::output(apply.args(["apply", "-k"]).arg(overlay)).map(drop)
    }

    /// The pod that `drain` has left.
    pub(super) fn left(&self, node: Node) -> Result<Pod> {
        let pods = workload::pods(self.lab, self.shape)?;
        find(&pods, "stay", node).cloned()
    }

    /// An error unless the node's pods are wired by Weir, or by the other.
    pub(super) fn wired(&self, node: Node, by_weir: bool) -> Result<String> {
        let pods = workload::pods(self.lab, self.shape)?;
        let routes = "ip -4 route show proto 88; ip -6 route show proto 88".replace("88", WIRED);
        let routes = Place::node(self.lab, node).script(&routes)?;
        let to: Vec<&str> = routes
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        let mut count = 0;
        for pod in pods.iter().filter(|it| it.node == node && it.app != "host") {
            for ip in &pod.ips {
                let weirs = to.contains(&ip.as_str());
                ensure!(
                    weirs == by_weir,
                    "{} {ip}: routes of Weir's: {routes}",
                    pod.name
                );
                count += 1;
            }
        }
        ensure!(count > 0, "there are no pods");
        Ok(format!("{count} addresses"))
    }
}
