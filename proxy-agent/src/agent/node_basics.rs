//! What the programs must know of the node itself: how to forward, which addresses are its own.

use std::net::IpAddr;

use anyhow::Context as _;
use proxy_common::{
    address::{address4, address6},
    node::{ADDRESS_LOCAL, ADDRESS_NODE_PORT, NODE_FORWARD_BPF, NODE_SOCKET_BALANCING, NodeConfig},
};

use crate::{
    config::{Configuration, Forwarding},
    datapath::{Maps, Table as _, bpfsys},
    model::Snapshot,
};

/// First and last source port used for translation: above the range that the kernel gives to sockets.
const SOURCE_PORTS: (u16, u16) = (61000, 65535);

/// Writes `NODE_CONFIG` and `NODE_ADDRESSES*` where they differ.
pub fn write(config: &Configuration, snapshot: &Snapshot, maps: &Maps) -> anyhow::Result<()> {
    let addresses = addresses(config, snapshot);
    let mut value = NodeConfig {
        flags: flags(config),
        netns_cookie: bpfsys::netns_cookie().unwrap_or(0),
        source_port_min: SOURCE_PORTS.0,
        source_port_max: SOURCE_PORTS.1,
        ..NodeConfig::default()
    };
    let (mut v4, mut v6) = (maps.node_addresses4.clone(), maps.node_addresses6.clone());
    let both = ADDRESS_LOCAL | ADDRESS_NODE_PORT;
    for address in addresses {
        match address {
            IpAddr::V4(ip) => {
                value.address4 = address4(ip.octets());
                v4.set(&value.address4, &both)?;
            }
            IpAddr::V6(ip) => {
                value.address6 = address6(ip.octets());
                v6.set(&value.address6, &both)?;
            }
        }
    }
    let mut table = maps.node_config.clone();
    if table.get(&0)? != Some(value) {
        table
            .set(&0, &value)
            .context("write the node's configuration")?;
    }
    Ok(())
}

fn flags(config: &Configuration) -> u32 {
    let forward = if config.forwarding == Forwarding::Bpf {
        NODE_FORWARD_BPF
    } else {
        0
    };
    let balance = if config.socket_balancing {
        NODE_SOCKET_BALANCING
    } else {
        0
    };
    forward | balance
}

/// The configured ones, else the Node's internal ones.
fn addresses(config: &Configuration, snapshot: &Snapshot) -> Vec<IpAddr> {
    if !config.node.addresses.is_empty() {
        return config.node.addresses.clone();
    }
    let node = snapshot.nodes.get(config.node_name.as_str());
    node.map_or_else(Vec::new, |node| node.internal_ips.clone())
}
