//! What the node should have, as a value.

use std::{collections::BTreeMap, net::IpAddr};

use cni_plugin::{node_file::NodeFile, wiring::route::Way};
use ipnetwork::IpNetwork;
use proxy_common::node::{ADDRESS_HOST_PORT, ADDRESS_LOCAL, ADDRESS_NODE_PORT};

use super::{
    facts::{Facts, Interface},
    routes::Routes,
};
use crate::{
    config::Configuration,
    model::{Node, Snapshot},
};

/// What the node should have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// The node's internal addresses, at most one of a family is used.
    pub internal: Vec<IpAddr>,
    /// The link towards the other nodes.
    pub uplink: Option<Interface>,
    /// `node.json`; none while the node's ranges are not known.
    pub file: Option<NodeFile>,
    /// Routes to other nodes' pods.
    pub routes: Routes,
    /// Nodes whose pods cannot be reached by a direct route, and why.
    pub unreachable: BTreeMap<String, String>,
    /// `NODE_ADDRESSES*`.
    pub addresses: BTreeMap<IpAddr, u32>,
}

impl Desired {
    /// The addresses of this machine that serve `NodePort`s.
    pub fn node_port_addresses(&self, facts: &Facts) -> Vec<IpAddr> {
        let here = |ip: &IpAddr| facts.addresses().any(|known| known == *ip);
        let serving = self.addresses.iter();
        let serving = serving.filter(|(ip, flags)| **flags & ADDRESS_NODE_PORT != 0 && here(ip));
        serving.map(|(ip, _)| *ip).collect()
    }

    /// The MTU of `weir_host`: what fits there fits the uplink and pods.
    pub fn host_device_mtu(&self, config: &Configuration) -> u32 {
        let uplink = self.uplink.as_ref().map_or(1500, |uplink| uplink.mtu);
        match config.cni.mtu {
            0 => uplink,
            pods => uplink.min(pods),
        }
    }

    /// From everything that is known.
    pub fn of(config: &Configuration, boot_id: &str, snapshot: &Snapshot, facts: &Facts) -> Self {
        let here = snapshot
            .nodes
            .get(config.node_name.as_str())
            .map(AsRef::as_ref);
        let internal = internal(config, here);
        let uplink = facts.uplink(&config.node.uplink, &internal).cloned();
        let mut desired = Self {
            addresses: addresses(config, &internal, facts),
            internal,
            uplink,
            ..Self::default()
        };
        desired.file = file(config, boot_id, here, &desired, facts);
        for node in snapshot.nodes.values() {
            if *node.name != *config.node_name {
                desired.route(node);
            }
        }
        desired
    }

    fn route(&mut self, node: &Node) {
        for range in &node.pod_cidrs {
            match self.way(node, *range) {
                Ok(way) => drop(self.routes.insert(*range, way)),
                Err(why) => drop(self.unreachable.insert(node.name.clone(), why)),
            }
        }
    }

    fn way(&self, node: &Node, range: IpNetwork) -> Result<Way, String> {
        let uplink = self.uplink.as_ref().ok_or("this node has no uplink")?;
        let gateway = node
            .internal_ips
            .iter()
            .copied()
            .find(|ip| ip.is_ipv4() == range.is_ipv4())
            .ok_or_else(|| format!("it has no InternalIP of the family of {range}"))?;
        if !uplink.addresses.iter().any(|a| a.contains(gateway)) {
            return Err(format!(
                "its address {gateway} is not on the link of {}",
                uplink.name
            ));
        }
        Ok(Way {
            index: uplink.index,
            gateway: Some(gateway),
            source: None,
        })
    }
}

/// The configured ones, else the Node's.
fn internal(config: &Configuration, here: Option<&Node>) -> Vec<IpAddr> {
    if !config.node.addresses.is_empty() {
        return config.node.addresses.clone();
    }
    here.map_or_else(Vec::new, |node| node.internal_ips.clone())
}

/// All addresses of the machine are its own; the primary internal ones, or those in the configured ranges,
/// serve `NodePort`s; all but loopback serve `hostPort`s.
fn addresses(config: &Configuration, internal: &[IpAddr], facts: &Facts) -> BTreeMap<IpAddr, u32> {
    let ranges = &config.node.node_port_addresses;
    let primary: Vec<IpAddr> = [true, false]
        .into_iter()
        .filter_map(|ipv4| internal.iter().copied().find(|ip| ip.is_ipv4() == ipv4))
        .collect();
    let serves = |ip: &IpAddr| {
        if ranges.is_empty() {
            primary.contains(ip)
        } else {
            ranges.iter().any(|range| range.contains(*ip))
        }
    };
    facts
        .addresses()
        .chain(internal.iter().copied())
        .map(|ip| {
            let node_port = if serves(&ip) { ADDRESS_NODE_PORT } else { 0 };
            // What comes to the loopback from outside is forged.
            let host_port = if ip.is_loopback() {
                0
            } else {
                ADDRESS_HOST_PORT
            };
            (ip, ADDRESS_LOCAL | node_port | host_port)
        })
        .collect()
}

fn file(
    config: &Configuration,
    boot_id: &str,
    here: Option<&Node>,
    desired: &Desired,
    facts: &Facts,
) -> Option<NodeFile> {
    let pod_cidrs = if config.node.pod_cidrs.is_empty() {
        here.map_or_else(Vec::new, |node| node.pod_cidrs.clone())
    } else {
        config.node.pod_cidrs.clone()
    };
    if pod_cidrs.is_empty() {
        return None;
    }
    let uplink_mtu = desired.uplink.as_ref().map_or(1500, |uplink| uplink.mtu);
    let reserved = facts
        .addresses()
        .filter(|ip| pod_cidrs.iter().any(|range| range.contains(*ip)))
        .collect();
    Some(NodeFile {
        boot_id: boot_id.to_owned(),
        node: config.node_name.clone(),
        pod_cidrs,
        reserved,
        mtu: if config.cni.mtu == 0 {
            uplink_mtu
        } else {
            config.cni.mtu
        },
        agent_pid: std::process::id(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn node(name: &str, ip: &str, range: &str) -> (Arc<str>, Arc<Node>) {
        let node = Node {
            name: name.into(),
            internal_ips: vec![ip.parse().unwrap()],
            pod_cidrs: vec![range.parse().unwrap()],
            ..Node::default()
        };
        (name.into(), Arc::new(node))
    }

    fn desired() -> Desired {
        let config = Configuration {
            node_name: "a".into(),
            ..Configuration::default()
        };
        let snapshot = Snapshot {
            nodes: [
                node("a", "10.0.0.1", "10.1.1.0/24"),
                node("b", "10.0.0.2", "10.1.2.0/24"),
                node("c", "192.0.2.3", "10.1.3.0/24"),
            ]
            .into(),
            ..Snapshot::default()
        };
        let facts = Facts {
            interfaces: vec![Interface {
                name: "eth0".into(),
                index: 7,
                mtu: 1450,
                addresses: vec![
                    "10.0.0.1/24".parse().unwrap(),
                    "10.1.1.1/32".parse().unwrap(),
                    "127.0.0.1/8".parse().unwrap(),
                ],
            }],
        };
        Desired::of(&config, "boot", &snapshot, &facts)
    }

    #[test]
    fn routes_lead_to_nodes_on_the_same_link_only() {
        let desired = desired();
        let way = Way {
            index: 7,
            gateway: "10.0.0.2".parse().ok(),
            source: None,
        };
        assert_eq!(
            desired.routes,
            [("10.1.2.0/24".parse().unwrap(), way)].into()
        );
        assert_eq!(
            desired.unreachable["c"],
            "its address 192.0.2.3 is not on the link of eth0"
        );
    }

    #[test]
    fn the_plugin_learns_ranges_mtu_and_reserved_addresses() {
        let file = desired().file.unwrap();
        assert_eq!(file.mtu, 1450);
        assert_eq!(file.pod_cidrs, ["10.1.1.0/24".parse().unwrap()]);
        assert_eq!(file.reserved, ["10.1.1.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn the_internal_address_serves_node_ports_and_all_but_loopback_host_ports() {
        let addresses = desired().addresses;
        let flags = |ip: &str| addresses[&ip.parse().unwrap()] & !ADDRESS_LOCAL;
        assert_eq!(flags("10.0.0.1"), ADDRESS_NODE_PORT | ADDRESS_HOST_PORT);
        assert_eq!(flags("10.1.1.1"), ADDRESS_HOST_PORT);
        assert_eq!(flags("127.0.0.1"), 0);
        assert!(addresses.values().all(|flags| flags & ADDRESS_LOCAL != 0));
    }
}
