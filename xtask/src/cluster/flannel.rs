//! kube-proxy in nftables mode, and flannel with its VXLAN.
//!
//! flannel's own plugin does nothing but call `bridge` with what the daemon has written into a file; here the network
//! configuration says the same to `bridge` directly.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::lab::{Lab, Node};
use super::place::Place;
use super::routes::PodCidrs;
use super::shape::{Link, PODS, Shape};
use super::{kube_proxy, wait};
use crate::run;
use crate::tools::go;

/// What the runtime wires pods by.
pub(super) const CONFLIST: &str = "/etc/cni/net.d/10-flannel.conflist";
/// The daemon's name as a process.
pub(super) const DAEMON: &str = "flanneld";
/// What the daemon tells the plugin.
const FACTS: &str = "/run/flannel/subnet.env";

/// Installs it on every node.
pub(crate) fn install(lab: &Lab, shape: Shape, cidrs: &[PodCidrs]) -> Result<()> {
    for node in shape.all() {
        let place = Place::node(lab, node);
        kube_proxy::start(lab, shape, node, &place)?;
        kube_proxy::plugins(&place)?;
        start(lab, shape, node, Between::Tunnel)?;
    }
    for node in shape.all() {
        wire(lab, &Place::node(lab, node), node, cidrs)?;
    }
    Ok(())
}

/// How its nodes that are on one link reach each other's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    /// By its VXLAN, as it comes.
    Tunnel,
    /// By routes (`DirectRouting`).
    Routes,
}

/// Starts the daemon.
pub(super) fn start(lab: &Lab, shape: Shape, node: Node, between: Between) -> Result<()> {
    let config = lab.node_file(node, "net-conf.json");
    Lab::write(&config, &network(shape, between).to_string())?;
    let program = go::FLANNELD.ensure()?;
    let args = [
        format!("NODE_NAME={}", node.name()),
        program.display().to_string(),
        "--kube-subnet-mgr".to_owned(),
        "--ip-masq".to_owned(),
        format!("--iface={}", Link(0).name()),
        format!("--kubeconfig-file={}", lab.kubeconfig().display()),
        format!("--net-config-path={}", config.display()),
    ];
    Place::node(lab, node).daemon(DAEMON, Path::new("env"), &args, None)
}

fn network(shape: Shape, between: Between) -> Value {
    let [ipv4, ipv6] = shape.families.has();
    json!({
        "EnableIPv4": ipv4,
        "Network": PODS[0],
        "EnableIPv6": ipv6,
        "IPv6Network": PODS[1],
        "Backend": { "Type": "vxlan", "DirectRouting": between == Between::Routes },
    })
}

/// Waits for what the daemon says, and has pods wired by it.
pub(super) fn wire(lab: &Lab, place: &Place, node: Node, cidrs: &[PodCidrs]) -> Result<()> {
    let mut said = String::new();
    wait::until("flannel", || {
        let read = place.command("cat").arg(FACTS).output()?;
        said = String::from_utf8_lossy(&read.stdout).into_owned();
        Ok(read.status.success())
    })
    .with_context(|| {
        let log = place.log(DAEMON);
        format!("end of its log:\n{}", run::tail(&log).unwrap_or_default())
    })?;
    let own = cidrs.iter().find(|it| it.node == node);
    let own = own.with_context(|| format!("{} has no ranges", node.name()))?;
    let list = conflist(own, &facts(&said))?;
    Lab::write(&lab.node_file(node, "flannel.conflist"), &list.to_string())?;
    kube_proxy::write(place, CONFLIST, &list)
}

fn facts(said: &str) -> BTreeMap<&str, &str> {
    said.lines()
        .filter_map(|line| line.split_once('='))
        .collect()
}

/// What the plugin `flannel` makes of the facts.
fn conflist(own: &PodCidrs, facts: &BTreeMap<&str, &str>) -> Result<Value> {
    let fact = |name: &str| {
        let value = facts.get(name);
        value.with_context(|| format!("{FACTS} does not say {name}"))
    };
    let mtu: u32 = fact("FLANNEL_MTU")?.parse()?;
    let masquerades = *fact("FLANNEL_IPMASQ")? == "true";
    let ranges: Vec<Value> = own
        .cidrs
        .iter()
        .map(|cidr| json!([{ "subnet": cidr }]))
        .collect();
    let networks = ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"];
    let routes: Vec<Value> = networks
        .iter()
        .filter_map(|name| facts.get(name))
        .map(|to| json!({ "dst": to }))
        .collect();
    Ok(json!({
        "cniVersion": "1.0.0",
        "name": "cbr0",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "mtu": mtu,
                "hairpinMode": true,
                "isGateway": true,
                "isDefaultGateway": true,
                "ipMasq": !masquerades,
                "ipam": { "type": "host-local", "ranges": ranges, "routes": routes },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_says_is_read() {
        let said = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        assert_eq!(facts(said)["FLANNEL_MTU"], "1450");
    }
}
