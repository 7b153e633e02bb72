//! The links between fabric and nodes: veth pairs to a bridge, or to a router of the node's own. In the fabric there is also an
//! "Internet", which knows the nodes' addresses alone.

use std::fs::File;
use std::process::Command;

use anyhow::Result;

use super::lab::{Lab, Node};
use super::place::Place;
use super::shape::{FABRIC_PREFIX, Link, Network, PODS, Pair, ROUTED_PREFIX, Shape};
use crate::run;

/// What is beyond the cluster.
pub(crate) const INTERNET: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

/// Load balancers' addresses, as the lab's configuration has them.
const BALANCERS: [&str; 2] = ["172.30.200.0/24", "fd30::c8:0/120"];

/// The fabric: a bridge for each link, and the Internet.
pub(super) fn fabric(lab: &Lab, shape: Shape) -> Result<()> {
    let net = lab.namespaces().join("fabric.net");
    File::create(&net)?;
    let [internet4, internet6] = INTERNET;
    let mut lines = vec![format!(
        "ip link set lo up
         ip addr add {internet4}/32 dev lo
         ip addr add {internet6}/128 dev lo
         sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
         sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1"
    )];
    for link in shape.links() {
        let bridge = link.bridge();
        lines.push(format!(
            "ip link add {bridge} type bridge
             ip link set {bridge} up"
        ));
        lines.push(addresses(link.fabric(), FABRIC_PREFIX, &bridge));
    }
    match shape.network {
        // They are asked by somebody who is no neighbour of the nodes: a test takes those for one of them.
        Network::L2 => lines.extend(balancers()),
        Network::Routed => lines.push(no_pods()),
    }
    let script = lines.join("\n");
    run::output(
        Command::new("unshare")
            .arg(format!("--net={}", net.display()))
            .args(["sh", "-euc", &script]),
    )?;
    Ok(())
}

/// Ways to load balancers, from the Internet.
fn balancers() -> impl Iterator<Item = String> {
    let bridge = Link(0).bridge();
    let ends = BALANCERS.into_iter().zip(INTERNET);
    ends.map(move |(to, from)| format!("ip route add {to} dev {bridge} src {from}"))
}

/// Joins a node to the fabric.
pub(super) fn connect(lab: &Lab, shape: Shape, node: Node) -> Result<()> {
    let place = Place::node(lab, node);
    if !shape.families.has()[1] {
        place.script(
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
        )?;
    }
    for link in shape.links() {
        match shape.network {
            Network::L2 => bridged(lab, node, link)?,
            Network::Routed => routed(lab, shape, node, link)?,
        }
        place.script(&ends(shape, node, link))?;
    }
    Ok(())
}

/// A node's addresses and routes on a link.
fn ends(shape: Shape, node: Node, link: Link) -> String {
    let (prefix, gateway) = match shape.network {
        Network::L2 => (FABRIC_PREFIX, link.fabric()),
        Network::Routed => (ROUTED_PREFIX, link.gateway(node)),
    };
    let name = link.name();
    let [v4, v6] = shape.address(node, link).words();
    let own = [
        format!("ip addr add {v4}/{} dev {name}", prefix[0]),
        format!("ip addr add {v6}/{} dev {name} nodad", prefix[1]),
    ];
    let mut lines = shape.families.of(own);
    lines.push(format!("ip link set {name} up"));
    lines.extend(routes(shape, link, gateway));
    lines.join("\n")
}

/// By the first link everywhere, by the others to what is behind them.
fn routes(shape: Shape, link: Link, gateway: Pair) -> Vec<String> {
    let to = match (link, shape.network) {
        (Link(0), _) => ["default", "default"].map(str::to_owned),
        (_, Network::L2) => return Vec::new(),
        (_, Network::Routed) => link.range(),
    };
    let [to4, to6] = to;
    let [via4, via6] = gateway.words();
    shape.families.of([
        format!("ip -4 route add {to4} via {via4}"),
        format!("ip -6 route add {to6} via {via6}"),
    ])
}

/// One veth pair between a node and a bridge; both ends are born where they belong.
fn bridged(lab: &Lab, node: Node, link: Link) -> Result<()> {
    let net = lab.namespaces().join(format!("{}.net", node.name()));
    let end = end(node, link);
    Place::fabric(lab).script(&format!(
        "ip link add {end} master {} type veth peer name {} netns {}
         ip link set {end} up",
        link.bridge(),
        link.name(),
        net.display()
    ))?;
    Ok(())
}

/// A router between a node and a bridge. It drops what has a pod's address, wherever it is from.
fn routed(lab: &Lab, shape: Shape, node: Node, link: Link) -> Result<()> {
    let end = end(node, link);
    let router = lab.namespaces().join(format!("{end}-router.net"));
    File::create(&router)?;
    let net = lab.namespaces().join(format!("{}.net", node.name()));
    let [fabric4, fabric6] = link.fabric().words();
    let script = format!(
        "ip link set lo up
         sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
         ip link add inner type veth peer name {} netns {}
         ip link set inner up
         {}
         {}",
        link.name(),
        net.display(),
        addresses(link.gateway(node), ROUTED_PREFIX, "inner"),
        no_pods()
    );
    run::output(
        Command::new("unshare")
            .arg(format!("--net={}", router.display()))
            .args(["sh", "-euc", &script]),
    )?;
    let [router4, router6] = link.router(node).words();
    let [own4, own6] = shape.address(node, link).words();
    Place::fabric(lab).script(&format!(
        "ip link add {end} master {} type veth peer name outer netns {}
         ip link set {end} up
         ip route add {own4}/32 via {router4}
         ip -6 route add {own6}/128 via {router6}",
        link.bridge(),
        router.display()
    ))?;
    let script = format!(
        "{}ip link set outer up
         ip route add default via {fabric4}
         ip -6 route add default via {fabric6}",
        addresses(link.router(node), FABRIC_PREFIX, "outer")
    );
    run::output(
        Command::new("nsenter")
            .arg(format!("--net={}", router.display()))
            .args(["sh", "-euc", &script]),
    )?;
    Ok(())
}

/// The fabric's end of a node's link.
fn end(node: Node, link: Link) -> String {
    match link {
        Link(0) => node.name(),
        Link(number) => format!("{}-{number}", node.name()),
    }
}

fn addresses(Pair(v4, v6): Pair, [length4, length6]: [u8; 2], device: &str) -> String {
    format!(
        "ip addr add {v4}/{length4} dev {device}
         ip addr add {v6}/{length6} dev {device} nodad
         "
    )
}

/// Nothing from pods' addresses or to them passes.
fn no_pods() -> String {
    let rules = PODS.iter().zip(["-4", "-6"]).flat_map(|(range, family)| {
        ["from", "to"].map(|way| format!("ip {family} rule add {way} {range} blackhole\n"))
    });
    rules.collect()
}
