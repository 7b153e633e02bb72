//! The yardstick's network: kube-proxy in nftables mode, and the reference plugins with static routes.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use weir_world::kubernetes;

use super::lab::{Lab, Node};
use super::place::Place;
use super::routes::PodCidrs;
use super::shape::{PODS, Shape};
use crate::run;
use crate::tools::go;

/// What the runtime wires pods by.
pub(super) const CONFLIST: &str = "/etc/cni/net.d/10-ptp.conflist";

/// Installs it on every node.
pub(crate) fn install(lab: &Lab, shape: Shape, cidrs: &[PodCidrs]) -> Result<()> {
    for node in shape.all() {
        let place = Place::node(lab, node);
        start(lab, shape, node, &place)?;
        plugins(&place)?;
        wire(&place, node, cidrs)?;
    }
    Ok(())
}

/// Routes to other nodes' pods, and what the runtime wires those of this node by.
pub(super) fn wire(place: &Place, node: Node, cidrs: &[PodCidrs]) -> Result<()> {
    for other in cidrs.iter().filter(|it| it.node != node) {
        other.route(place)?;
    }
    let own = cidrs.iter().find(|it| it.node == node);
    own.map_or(Ok(()), |own| write(place, CONFLIST, &conflist(own)))
}

/// Writes a network configuration.
pub(super) fn write(place: &Place, path: &str, list: &Value) -> Result<()> {
    let mut cat = place.command("sh");
    cat.args(["-euc", "cat > \"$1\"", "sh", path]);
    run::fed(&mut cat, &list.to_string()).map(drop)
}

/// Starts kube-proxy on a node.
pub(super) fn start(lab: &Lab, shape: Shape, node: Node, place: &Place) -> Result<()> {
    let config = lab.node_file(node, "kube-proxy.json");
    let pods = shape.families.list(PODS);
    let text = kubernetes::kube_proxy(&node.name(), &pods, &lab.kubeconfig()).to_string();
    Lab::write(&config, &text)?;
    place.daemon(
        "kube-proxy",
        &go::KUBE_PROXY.ensure()?,
        &[format!("--config={}", config.display())],
        None,
    )
}

/// Puts the reference plugins where the runtime looks for them.
pub(super) fn plugins(place: &Place) -> Result<()> {
    let programs: Vec<PathBuf> = go::PLUGINS
        .iter()
        .map(|plugin| plugin.ensure())
        .collect::<Result<_>>()?;
    run::output(place.command("cp").args(&programs).arg("/opt/cni/bin/"))?;
    Ok(())
}

fn conflist(own: &PodCidrs) -> Value {
    let ranges: Vec<Value> = own
        .cidrs
        .iter()
        .map(|cidr| json!([{ "subnet": cidr }]))
        .collect();
    json!({
        "cniVersion": "1.0.0",
        "name": "lab",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "ranges": ranges,
                    "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "backend": "nftables" },
        ],
    })
}
