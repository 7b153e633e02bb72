//! Pods wired by the world: the plugin's wiring (/32, static neighbours, one route), with no program of ours.

use anyhow::Result;

use super::{
    node::Node,
    pod::{Pod, Wiring},
};

/// MAC address of every pod's gateway.
const GATEWAY_MAC: &str = "ee:ee:ee:ee:ee:ee";

pub(super) fn pod(node: &Node, name: &str) -> Result<Pod> {
    let place = Pod::netns(node, name)?;
    let (v4, v6) = node.next_addresses();
    let [.., last] = v4.octets();
    let host = format!("plain{last}");
    place.batch("link set lo up\n")?;
    node.batch(&format!(
        "link add {host} mtu 1500 address {GATEWAY_MAC} type veth peer name eth0 mtu 1500 netns {name}\n\
         link set {host} up\n"
    ))?;
    place.batch(&format!(
        "link set eth0 up\n\
         addr add {v4}/32 dev eth0\n\
         route add 169.254.1.1/32 dev eth0 scope link\n\
         route add default via 169.254.1.1 dev eth0\n\
         neigh replace 169.254.1.1 lladdr {GATEWAY_MAC} dev eth0 nud permanent\n\
         addr add {v6}/128 dev eth0 nodad\n\
         neigh replace fe80::1 lladdr {GATEWAY_MAC} dev eth0 nud permanent\n\
         route add ::/0 via fe80::1 dev eth0\n"
    ))?;
    node.batch(&format!(
        "addr add fe80::1/64 dev {host} nodad\n\
         route add {v4}/32 dev {host} scope link\n\
         route add {v6}/128 dev {host}\n"
    ))?;
    Ok(Pod::new(name, node, place, Wiring::Plain, (v4, v6)))
}
