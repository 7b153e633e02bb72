//! The workload: made, looked at, and taken away.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::objects::{self, NAMESPACE};
use crate::cluster::lab::{Lab, Node};
use crate::cluster::shape::Shape;
use crate::cluster::{kubectl, wait};
use crate::{run, say};

/// A pod of the workload.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    /// Its name.
    pub(super) name: String,
    /// `web`, `stay` or `host`.
    pub(super) app: String,
    /// Its node.
    pub(super) node: Node,
    /// Its addresses.
    pub(super) ips: Vec<String>,
    /// The id of its container.
    container: String,
    /// Whether it is ready, and not about to go.
    ready: bool,
}

/// A Service of the workload, by its node.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// The node of its only pod.
    pub(super) node: Node,
    /// Its addresses.
    pub(super) ips: Vec<String>,
}

impl Pod {
    fn of(shape: Shape, object: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let status = &object["status"];
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let mut ready = conditions.filter(|it| it["type"] == "Ready" && it["status"] == "True");
        let ips = status["podIPs"].as_array().into_iter().flatten();
        let node = text(&object["spec"]["nodeName"])?;
        Some(Self {
            name: text(&object["metadata"]["name"])?,
            app: text(&object["metadata"]["labels"]["app"])?,
            node: shape.all().find(|it| it.name() == node)?,
            ips: ips.filter_map(|ip| text(&ip["ip"])).collect(),
            container: text(&status["containerStatuses"][0]["containerID"]).unwrap_or_default(),
            ready: ready.next().is_some() && object["metadata"]["deletionTimestamp"].is_null(),
        })
    }

    /// A process of its container.
    pub(super) fn process(&self) -> Result<u32> {
        let id = self.container.rsplit('/').next().unwrap_or_default();
        if id.is_empty() {
            bail!("pod {} has no container", self.name);
        }
        let pids = fs::read_dir("/proc").context("cannot read /proc")?;
        let mut pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let of_pod = pids.find(|pid: &u32| {
            let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup"));
            cgroups.is_ok_and(|cgroups| cgroups.contains(id))
        });
        of_pod.with_context(|| format!("pod {} has no process", self.name))
    }
}

/// Asks for objects.
pub(super) fn get(lab: &Lab, args: &[&str]) -> Result<Vec<Value>> {
    let mut get = kubectl(lab)?;
    get.arg("get").args(args).args(["-o", "json"]);
    let text = run::output(&mut get)?;
    let list: Value = serde_json::from_str(&text).context("kubectl printed no JSON")?;
    let items = list["items"].as_array().cloned();
    items.context("kubectl printed no list")
}

/// Calls kubectl.
pub(super) fn call(lab: &Lab, args: &[&str]) -> Result<String> {
    run::output(kubectl(lab)?.args(args))
}

/// The pods that are ready.
pub(super) fn pods(lab: &Lab, shape: Shape) -> Result<Vec<Pod>> {
    let all = get(lab, &["pods", "--namespace", NAMESPACE])?;
    let all = all.iter().filter_map(|object| Pod::of(shape, object));
    Ok(all.filter(|pod| pod.ready).collect())
}

/// The Services.
pub(super) fn services(lab: &Lab, shape: Shape) -> Result<Vec<Service>> {
    let all = get(lab, &["services", "--namespace", NAMESPACE])?;
    let of = |node: Node| {
        let name = objects::web(node);
        let object = all.iter().find(|it| it["metadata"]["name"] == *name)?;
        let ips = object["spec"]["clusterIPs"].as_array()?.iter();
        let ips = ips.filter_map(|ip| ip.as_str().map(str::to_owned));
        Some(Service {
            node,
            ips: ips.collect(),
        })
    };
    Ok(shape.all().filter_map(of).collect())
}

/// Makes it, and returns when all of it is ready.
pub(super) fn create(lab: &Lab, shape: Shape) -> Result<()> {
    let nodes: Vec<Node> = shape.all().collect();
    let list = objects::all(&nodes).to_string();
    run::fed(kubectl(lab)?.args(["apply", "-f", "-"]), &list)?;
    ready(lab, shape)
}

/// Waits until three pods are ready on each node.
pub(super) fn ready(lab: &Lab, shape: Shape) -> Result<()> {
    say::step("wait for pods", || {
        wait::until("the pods of the workload", || {
            Ok(pods(lab, shape)?.len() == usize::from(shape.nodes) * 3)
        })?;
        rolled_out(lab, "deployment/coredns")
    })
}

/// Waits for a Deployment or `DaemonSet` of the system.
pub(super) fn rolled_out(lab: &Lab, what: &str) -> Result<()> {
    let args = [
        "--namespace=kube-system",
        "rollout",
        "status",
        what,
        "--timeout=180s",
    ];
    call(lab, &args).map(drop)
}

/// Deletes the pod of a `DaemonSet` on a node, and waits until it is gone.
pub(super) fn delete_pod(lab: &Lab, pod: &Pod) -> Result<()> {
    let args = [
        "--namespace",
        NAMESPACE,
        "delete",
        "pod",
        &pod.name,
        "--timeout=60s",
    ];
    call(lab, &args).map(drop)
}

/// Takes it away.
pub(super) fn delete(lab: &Lab) -> Result<()> {
    say::step("take the workload away", || {
        call(lab, &["delete", "namespace", NAMESPACE, "--timeout=120s"]).map(drop)
    })
}

/// So many pods of the cluster's DNS.
pub(super) fn dns(lab: &Lab, replicas: u8) -> Result<()> {
    let replicas_arg = format!("--replicas={replicas}");
    let scale = [
        "--namespace=kube-system",
        "scale",
        "deployment/coredns",
        &replicas_arg,
    ];
    call(lab, &scale)?;
    let label = "k8s-app=kube-dns";
    wait::until("DNS", || {
        let left = get(lab, &["pods", "--namespace=kube-system", "-l", label])?;
        Ok(left.len() == usize::from(replicas))
    })?;
    rolled_out(lab, "deployment/coredns")
}
