//! Brings the cluster up, step by step.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::lab::Lab;
use super::place::Place;
use super::routes::PodCidrs;
use super::runtime::Runtime;
use super::shape::{DNS, Network, Proxy, Shape};
use super::{
    control_plane, down, flannel, forward, kube_proxy, kubectl, kubelet, namespaces, wait, weir,
};
use crate::tools::{debian, go};
use crate::{image, paths, run, say};

/// Programs of the host that the cluster is made with.
const HOST: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("sysctl", "procps"),
    // kubelet and kube-proxy call it.
    ("conntrack", "conntrack"),
    ("nft", "nftables"),
    // kubelet makes rules of its own with it, as on any node: netfilter tracks connections there.
    ("iptables", "iptables"),
];

/// The file that says that the cluster is up.
pub(super) const MARKER: &str = "up";

/// What is ready before anything is started.
struct Parts {
    runtime: Runtime,
    images: Vec<PathBuf>,
}

/// Brings a cluster of this shape up; whatever was there is removed first.
pub(crate) fn up(lab: &Lab, shape: Shape) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            anyhow::anyhow!("a cluster of namespaces needs root")
                .context("hint: sudo -E cargo xtask cluster up")
        );
    }
    let parts = parts(shape)?;
    down::down(lab)?;
    fs::create_dir_all(&lab.folder)
        .with_context(|| format!("cannot create {}", lab.folder.display()))?;
    Lab::write(&lab.file("shape.json"), &serde_json::to_string(&shape)?)?;
    say::step(&format!("make {} nodes of namespaces", shape.nodes), || {
        namespaces::create(lab, shape)
    })?;
    say::step("start the control plane", || {
        control_plane::start(lab, shape)
    })?;
    forward::start(lab)?;
    say::step("start containerd and kubelet", || nodes(lab, shape, &parts))?;
    let cidrs = PodCidrs::read(lab, shape)?;
    let fabric = Place::fabric(lab);
    if shape.network == Network::L2 {
        cidrs.iter().try_for_each(|it| it.route(&fabric))?;
    }
    match shape.proxy {
        Proxy::KubeProxy => say::step("start kube-proxy and the reference plugins", || {
            kube_proxy::install(lab, shape, &cidrs)
        })?,
        Proxy::Flannel => say::step("start kube-proxy and flannel", || {
            flannel::install(lab, shape, &cidrs)
        })?,
        Proxy::Weir => say::step("install Weir by `kubectl apply -k`", || weir::install(lab))?,
    }
    say::step("wait for nodes and DNS", || ready(lab, shape))?;
    Lab::write(&lab.file(MARKER), "")
}

fn parts(shape: Shape) -> Result<Parts> {
    debian::host(&HOST)?;
    go::ensure(&go::CONTROL_PLANE)?;
    go::ensure(&go::CLUSTER)?;
    let mut images = vec![image::e2e::archive()?];
    match shape.proxy {
        Proxy::Weir => images.push(image::weir::write("lab", image::weir::NAME)?),
        Proxy::KubeProxy | Proxy::Flannel => {
            go::ensure(&[go::KUBE_PROXY])?;
            go::ensure(&go::PLUGINS)?;
        }
    }
    if shape.proxy == Proxy::Flannel {
        go::ensure(&[go::FLANNELD])?;
    }
    Ok(Parts {
        runtime: Runtime::find()?,
        images,
    })
}

fn nodes(lab: &Lab, shape: Shape, parts: &Parts) -> Result<()> {
    for node in shape.all() {
        parts.runtime.start(lab, node)?;
        for image in &parts.images {
            parts.runtime.import(lab, node, image)?;
        }
        kubelet::start(lab, shape, node)?;
    }
    Ok(())
}

fn ready(lab: &Lab, shape: Shape) -> Result<()> {
    let manifest = paths::root().join("tests/cluster/manifests/coredns.yaml");
    let manifest = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let manifest = manifest.replace(DNS[0], shape.families.first(DNS));
    run::fed(kubectl(lab)?.args(["apply", "-f", "-"]), &manifest)?;
    wait::until("the nodes", || {
        let mut wait = kubectl(lab)?;
        wait.args([
            "wait",
            "--for=condition=Ready",
            "nodes",
            "--all",
            "--timeout=10s",
        ]);
        Ok(wait.output()?.status.success())
    })?;
    let mut rollout = kubectl(lab)?;
    rollout.args([
        "--namespace=kube-system",
        "rollout",
        "status",
        "deployment/coredns",
        "--timeout=180s",
    ]);
    run::output(&mut rollout)?;
    Ok(())
}
