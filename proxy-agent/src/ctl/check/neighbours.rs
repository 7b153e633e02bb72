//! Whether somebody has fixed the hardware address of another node: where it is wrong nothing reaches that node, and nobody asks anew.

use std::{collections::BTreeMap, net::IpAddr};

use cni_plugin::wiring::netlink::Netlink;

use super::{Complaint, Fault, Verdict, scene::Scene};
use crate::node::{
    facts::Facts,
    neighbours::{Neighbour, Neighbours},
};

/// Looks at the kernel's neighbours.
pub(super) fn look(scene: &Scene) -> Verdict {
    let (Some(own), Ok(facts)) = (scene.node(), &scene.facts) else {
        return Verdict::unknown("not known");
    };
    let read = Netlink::open().and_then(|mut netlink| Neighbours::read(&mut netlink));
    let permanent = match read {
        Ok(neighbours) => neighbours.permanent,
        Err(error) => return Verdict::unknown(format!("not known: list neighbours: {error}")),
    };
    let store = scene.store.read();
    let others = store.nodes.values().filter(|node| node.name != own.name);
    let nodes: BTreeMap<IpAddr, &str> = others
        .flat_map(|node| node.addresses.iter().map(|ip| (*ip, &*node.name)))
        .collect();
    let fixed = permanent
        .iter()
        .filter_map(|one| complaint(one, nodes.get(&one.1)?, facts));
    Verdict::of("where other nodes are the kernel asks by itself", fixed)
}

fn complaint((index, ip, mac): &Neighbour, node: &str, facts: &Facts) -> Option<Complaint> {
    let link = &facts.interface(*index)?.name;
    let mac: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    let text = format!(
        "somebody has fixed {ip} of node {node} on {link} to {}: where that is wrong nothing reaches the node, and the kernel does not ask",
        mac.join(":")
    );
    let hint = "take it away, and find who adds it (a script with `ip neighbour`, an old static ARP table); if it is meant and right, skip this check by --skip neighbours";
    let complaint = Complaint::warning(Fault::NeighbourFixed, text, hint);
    Some(complaint.command(format!("ip neighbour delete {ip} dev {link}")))
}
