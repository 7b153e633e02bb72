//! What is needed to understand a failure, kept after the cluster is gone.

use std::fs;

use anyhow::{Context as _, Result};

use super::programs::{on_node, said};
use crate::cluster::kubectl;
use crate::cluster::lab::{Lab, Node};
use crate::cluster::place::Place;
use crate::cluster::shape::Shape;
use crate::{paths, say};

/// What the kernel of a node says.
const LOOKS: &str = "ip -d link; ip addr; ip -4 route show table all; ip -6 route show table all; ip rule; \
                     nft list ruleset; ls -l /etc/cni/net.d; conntrack -L; cat /var/log/pods/kube-system_weir-*/agent/*.log";

/// Writes it, and says where.
pub(super) fn all(lab: &Lab, shape: Shape) -> Result<()> {
    let folder = paths::cache()?.join("move-over");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut pods = kubectl(lab)?;
    let pods = said(pods.args(["get", "pods", "-A", "-o", "wide"]))?;
    let mut events = kubectl(lab)?;
    let events = said(events.args(["get", "events", "-A"]))?;
    let text = format!("{}{}{}", pods.out, pods.err, events.out);
    write(&folder.join("cluster.txt"), &text)?;
    for node in shape.all() {
        write(
            &folder.join(format!("{}.txt", node.name())),
            &self::node(lab, node)?,
        )?;
    }
    say::line(format!("how it was: {}", folder.display()));
    Ok(())
}

fn node(lab: &Lab, node: Node) -> Result<String> {
    let mut text = String::new();
    for args in [
        &["status"][..],
        &["check"],
        &["top", "--by", "drop", "--count", "1"],
    ] {
        let said = on_node(lab, node, "proxyctl", args)?;
        let title = format!("# proxyctl {}\n", args.join(" "));
        text.extend([title, said.out, said.err]);
    }
    let mut sh = Place::node(lab, node).command("sh");
    let looks = said(sh.args(["-c", LOOKS]))?;
    Ok(text + &looks.out + &looks.err)
}

fn write(path: &std::path::Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
