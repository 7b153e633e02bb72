//! The fabric and the nodes as namespaces.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cgroups::Hierarchies;
use super::lab::{Lab, Node};
use super::links;
use super::place::FABRIC_CGROUP;
use super::shape::Shape;
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
    links::fabric(lab, shape)?;
    for node in shape.all() {
        cgroups.create(&node.cgroup())?;
        self::node(lab, shape, node, &cgroups)
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

fn node(lab: &Lab, shape: Shape, node: Node, cgroups: &Hierarchies) -> Result<()> {
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
    links::connect(lab, shape, node)
}
