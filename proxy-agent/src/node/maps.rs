//! `NODE_CONFIG` and `NODE_ADDRESSES*`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::Context as _;
use proxy_common::{
    address::{address4, address6},
    node::{NODE_ALLOW_EGRESS_TO_NODE, NODE_FORWARD_BPF, NODE_SOCKET_BALANCING, NodeConfig},
};

use super::desired::Desired;
use crate::{
    config::{Configuration, Forwarding},
    datapath::{Maps, Table, bpfsys},
};

/// Brings the maps in step. Addresses that the machine has lost go last, and only if `complete`: before the
/// Node is known the internal ones are not.
pub fn write(
    config: &Configuration,
    desired: &Desired,
    host_device: u32,
    maps: &Maps,
    complete: bool,
) -> anyhow::Result<()> {
    let value = NodeConfig {
        unanswered: unanswered(config)?,
        ..value(config, desired, host_device)
    };
    let mut table = maps.node_config.clone();
    if table.get(&0)? != Some(value) {
        table
            .set(&0, &value)
            .context("write the node's configuration")?;
    }
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    for (ip, flags) in &desired.addresses.flags {
        match ip {
            IpAddr::V4(ip) => drop(v4.insert(address4(ip.octets()), *flags)),
            IpAddr::V6(ip) => drop(v6.insert(address6(ip.octets()), *flags)),
        }
    }
    reconcile(&mut maps.node_addresses4.clone(), &v4, complete)?;
    reconcile(&mut maps.node_addresses6.clone(), &v6, complete)
}

fn reconcile<K: Copy + Ord + std::fmt::Debug>(
    table: &mut dyn Table<K, u32>,
    desired: &BTreeMap<K, u32>,
    complete: bool,
) -> anyhow::Result<()> {
    let actual: BTreeMap<K, u32> = table.entries()?.into_iter().collect();
    for (key, flags) in desired {
        if actual.get(key) != Some(flags) {
            table.set(key, flags)?;
        }
    }
    for key in actual.keys() {
        if complete && !desired.contains_key(key) {
            table.remove(key)?;
        }
    }
    Ok(())
}

fn value(config: &Configuration, desired: &Desired, host_device: u32) -> NodeConfig {
    let v4 = desired.internal.iter().find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    let v6 = desired.internal.iter().find_map(|ip| match ip {
        IpAddr::V6(ip) => Some(*ip),
        IpAddr::V4(_) => None,
    });
    NodeConfig {
        flags: flags(config),
        host_device,
        netns_cookie: bpfsys::netns_cookie().unwrap_or(0),
        address4: address4(v4.unwrap_or(Ipv4Addr::UNSPECIFIED).octets()),
        address6: address6(v6.unwrap_or(Ipv6Addr::UNSPECIFIED).octets()),
        source_port_min: config.node.source_ports.min,
        source_port_max: config.node.source_ports.max,
        ..NodeConfig::default()
    }
}

fn unanswered(config: &Configuration) -> anyhow::Result<u32> {
    let collected = config.sync.collect_period.0.as_secs().try_into()?;
    let processors = bpfsys::cpus()?.try_into()?;
    Ok(config.maps.capacities().unanswered(processors, collected))
}

fn flags(config: &Configuration) -> u32 {
    let all = [
        (config.forwarding == Forwarding::Bpf, NODE_FORWARD_BPF),
        (config.socket_balancing, NODE_SOCKET_BALANCING),
        (
            config.policy.allow_egress_to_local_node,
            NODE_ALLOW_EGRESS_TO_NODE,
        ),
    ];
    let set = all.into_iter().filter(|(set, _)| *set);
    set.fold(0, |flags, (_, bit)| flags | bit)
}
