//! The fabric and the nodes as namespaces, joined by veth pairs to one bridge.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cgroups::Hierarchies;
use super::lab::{FABRIC_V4, FABRIC_V6, Lab, Node, Shape};
use super::place::{FABRIC_CGROUP, Place};
use crate::run;

/// Folders of the host that a node mounts something on.
const MOUNT_POINTS: [&str; 5] = [
    "/etc/cni",
    "/opt/cni",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
];

/// Makes the fabric and all nodes.
pub(crate) fn create(lab: &Lab, shape: Shape) -> Result<()> {
    hold(lab)?;
    make_mount_points(lab)?;
    let cgroups = Hierarchies::find()?;
    cgroups.create(FABRIC_CGROUP)?;
    fabric(lab)?;
    for node in shape.all() {
        cgroups.create(&node.cgroup())?;
        self::node(lab, node, &cgroups)
            .with_context(|| format!("cannot make node {}", node.name()))?;
    }
    Ok(())
}

/// The folder of bind mounts must be private, or a mount namespace cannot be held in it.
fn hold(lab: &Lab) -> Result<()> {
    let folder = lab.namespaces();
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    run::output(Command::new("mount").arg("--bind").args([&folder, &folder]))?;
    run::output(Command::new("mount").arg("--make-private").arg(&folder))?;
    Ok(())
}

/// Makes missing mount points, and notes them down so that they can be removed again.
fn make_mount_points(lab: &Lab) -> Result<()> {
    let made: Vec<&str> = MOUNT_POINTS
        .into_iter()
        .filter(|folder| !Path::new(folder).exists())
        .collect();
    Lab::write(&lab.file("made-folders"), &made.join("\n"))?;
    made.iter().try_for_each(|folder| {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))
    })
}

fn fabric(lab: &Lab) -> Result<()> {
    let net = lab.namespaces().join("fabric.net");
    File::create(&net)?;
    let script = format!(
        "ip link set lo up
         ip link add br0 type bridge
         ip link set br0 up
         ip addr add {FABRIC_V4}/16 dev br0
         ip addr add {FABRIC_V6}/64 dev br0 nodad
         sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
         sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1"
    );
    run::output(
        Command::new("unshare")
            .arg(format!("--net={}", net.display()))
            .args(["sh", "-euc", &script]),
    )?;
    Ok(())
}

fn node(lab: &Lab, node: Node, cgroups: &Hierarchies) -> Result<()> {
    let name = node.name();
    let held = |kind: &str| lab.namespaces().join(format!("{name}.{kind}"));
    for kind in ["net", "mnt", "uts"] {
        File::create(held(kind))?;
    }
    let folder = lab.file(&name);
    fs::create_dir_all(&folder)?;
    let mut unshare = Command::new("unshare");
    unshare
        .arg(format!("--net={}", held("net").display()))
        .arg(format!("--uts={}", held("uts").display()))
        .arg(format!("--mount={}", held("mnt").display()))
        .args([
            "--propagation",
            "private",
            "bash",
            "-euc",
            include_str!("node.sh"),
            "node.sh",
            &name,
        ])
        .arg(&folder)
        .arg(cgroups.v2(&node.cgroup()));
    run::output(&mut unshare)?;
    uplink(lab, node)
}

/// One veth pair between the node's `eth0` and the bridge; both ends are born where they belong.
fn uplink(lab: &Lab, node: Node) -> Result<()> {
    let net = lab.namespaces().join(format!("{}.net", node.name()));
    let name = node.name();
    Place::fabric(lab).script(&format!(
        "ip link add {name} master br0 type veth peer name eth0 netns {}
         ip link set {name} up",
        net.display()
    ))?;
    Place::node(lab, node).script(&format!(
        "ip addr add {}/16 dev eth0
         ip addr add {}/64 dev eth0 nodad
         ip link set eth0 up
         ip route add default via {FABRIC_V4}
         ip -6 route add default via {FABRIC_V6}",
        node.ipv4(),
        node.ipv6()
    ))?;
    Ok(())
}
