//! Links, addresses, and the room that the way to other nodes has.

use std::collections::BTreeMap;

use cni_plugin::{node_file::NodeFile, paths::Paths};
use netlink_packet_route::link::LinkLayerType;

use super::{Complaint, Fault, Verdict, finding::quoted, scene::Scene};
use crate::{
    config::Routing,
    node::{astray, desired::Desired, facts::Facts},
};

/// IPv6 needs as much (RFC 8200, 5): with less the kernel takes it off a device.
const LEAST_IPV6: u32 = 1280;
/// Any host takes as much (RFC 791), and hardly anything works with less.
const LEAST_IPV4: u32 = 576;

/// Whether there are links that carry node traffic.
pub(super) fn links(scene: &Scene) -> Verdict {
    match (&scene.facts, scene.desired()) {
        (Ok(_), Some(desired)) => judge_links(&desired),
        (Err(error), _) => Complaint::error(
            Fault::NetworkUnread,
            format!("links, addresses and routes: {error}"),
            "is netlink open to this container? run it in the node's network namespace",
        )
        .into(),
        (Ok(_), None) => Verdict::unknown(""),
    }
}

fn judge_links(desired: &Desired) -> Verdict {
    let chosen = desired.links.chosen.values();
    let names: Vec<&str> = chosen.map(|link| link.name.as_str()).collect();
    if !names.is_empty() {
        return Verdict::fine(names.join(", "));
    }
    let refused = desired.links.refused.join("; ");
    Complaint::error(
        Fault::NoLink,
        format!(
            "no link carries node traffic: pods and NodePorts are reached from nowhere; {refused}"
        ),
        "node.links says which links do; unless told, all whose type carries IP",
    )
    .setting("node.links.include", "*")
    .into()
}

/// Whether the loopback is up.
pub(super) fn loopback(scene: &Scene) -> Verdict {
    match &scene.facts {
        Ok(facts) => judge_loopback(facts),
        Err(_) => Verdict::unknown("not known"),
    }
}

fn judge_loopback(facts: &Facts) -> Verdict {
    let mut loopbacks = facts.interfaces.iter();
    let down = loopbacks.find(|link| link.layer == LinkLayerType::Loopback && !link.up);
    let complaint = down.map(|link| {
        let text = format!(
            "{} is down: what the node says to itself gets no answer, kubelet's probes and programs run in pods (exec) among it",
            link.name
        );
        let hint = "nothing works by 127.0.0.1 until it is up: what has set it down?";
        Complaint::error(Fault::LoopbackDown, text, hint)
            .command(format!("ip link set {} up", link.name))
    });
    Verdict::of("up", complaint)
}

/// Whether the node's addresses are its own.
pub(super) fn addresses(scene: &Scene) -> Verdict {
    match (&scene.facts, scene.desired()) {
        (Ok(facts), Some(desired)) => judge_addresses(&desired, facts),
        _ => Verdict::unknown("not known"),
    }
}

fn judge_addresses(desired: &Desired, facts: &Facts) -> Verdict {
    let internal = &desired.internal;
    let words: Vec<String> = internal.iter().map(ToString::to_string).collect();
    let absent = internal
        .iter()
        .filter(|ip| facts.with_address(**ip).is_none());
    let complaints = absent.map(|ip| {
        Complaint::error(
            Fault::AddressNotHere,
            format!("{ip} is the node's address (node.addresses, else InternalIP of the Node), but no link has it"),
            "give it to a link, or correct the Node: the kubelet's --node-ip says its InternalIP",
        )
    });
    let complaints = complaints.chain(of_pods(desired, facts));
    let text = if words.is_empty() {
        "none is known: neither node.addresses nor a Node names one".to_owned()
    } else {
        words.join(", ")
    };
    Verdict::of(text, complaints)
}

/// Addresses of links that are other nodes' pods'.
fn of_pods<'a>(desired: &'a Desired, facts: &'a Facts) -> impl Iterator<Item = Complaint> + 'a {
    astray::all(desired, facts).map(|astray| {
        let hint = "whoever gave it to the link (netplan, keepalived, a script) has to give it another one";
        let link = quoted(std::path::Path::new(astray.link));
        let complaint = Complaint::error(Fault::AddressOfPods, astray.to_string(), hint);
        complaint.command(format!("ip address delete {} dev {link}", astray.address))
    })
}

/// Whether what pods send has room on its way.
pub(super) fn mtu(scene: &Scene) -> Verdict {
    let (Ok(facts), Some(desired)) = (&scene.facts, scene.desired()) else {
        return Verdict::unknown("not known");
    };
    let told = scene.config.cni.mtu;
    let file = NodeFile::read(&Paths::new(&scene.here.run_dir).node());
    let pods = Mtu {
        way: desired.mtu,
        configured: told,
        in_force: file.ok().filter(|_| !scene.before).map(|file| file.mtu),
        ipv6: desired.pods.iter().any(ipnetwork::IpNetwork::is_ipv6),
        there: scene.wiring.as_ref().and_then(|facts| {
            let there = &facts.attachments.as_ref().ok()?.mtus;
            let wide = there.range(desired.mtu + 1..);
            let count: usize = wide.clone().map(|(_, count)| count).sum();
            wide.last().map(|(mtu, _)| (count, *mtu))
        }),
    };
    judge_mtu(&pods, narrowest(&desired, facts))
}

/// What is known of the room that pods have.
struct Mtu {
    /// What the way to other nodes has room for.
    way: u32,
    /// `cni.mtu`; 0: what the way has room for.
    configured: u32,
    /// What new pods are told.
    in_force: Option<u32>,
    /// Pods have IPv6 addresses.
    ipv6: bool,
    /// How many pods that are there began with more than the way has room for, and the most that one has.
    there: Option<(usize, u32)>,
}

/// The link that carries node traffic and has the least room.
fn narrowest<'a>(desired: &Desired, facts: &'a Facts) -> Option<(&'a str, u32)> {
    let chosen = desired.links.chosen.keys();
    let links = chosen.filter_map(|index| facts.interface(*index));
    let least = links.min_by_key(|link| link.mtu)?;
    Some((&least.name, least.mtu))
}

fn judge_mtu(pods: &Mtu, narrowest: Option<(&str, u32)>) -> Verdict {
    let Mtu {
        way,
        configured,
        in_force,
        ipv6,
        there,
    } = *pods;
    let told = if configured == 0 { way } else { configured };
    let least = if ipv6 { LEAST_IPV6 } else { LEAST_IPV4 };
    let mut complaints = Vec::new();
    if told < least {
        complaints.push(too_low(told, least, pods, narrowest));
    }
    if configured > way {
        let text = format!(
            "cni.mtu is {configured}, the way to other nodes has room for {way}: longer packets are lost"
        );
        let complaint = Complaint::error(
            Fault::MtuTooHigh,
            text,
            "leave it to the agent, which looks at the way",
        );
        complaints.push(complaint.setting("cni.mtu", 0));
    }
    if let Some(now) = in_force.filter(|now| configured == 0 && *now > way) {
        let text =
            format!("new pods have an MTU of {now}, the way to other nodes has room for {way}");
        let hint = "the agent tells the plugin within seconds; pods that are there keep theirs until they are made anew";
        complaints.push(Complaint::warning(Fault::MtuTooHigh, text, hint));
    }
    if let Some((count, most)) = there {
        let text = format!(
            "{count} pods that are there began with an MTU of {most}, the way to other nodes has room for {way}"
        );
        let hint = "they rely on path MTU discovery until they are made anew";
        complaints.push(Complaint::warning(Fault::MtuTooHigh, text, hint));
    }
    Verdict::of(format!("{told} for pods"), complaints)
}

fn too_low(told: u32, least: u32, pods: &Mtu, narrowest: Option<(&str, u32)>) -> Complaint {
    let family = if pods.ipv6 { "IPv6" } else { "IPv4" };
    let text = format!("pods would have an MTU of {told}, and {family} needs {least}");
    if pods.configured != 0 && pods.way >= least {
        let complaint = Complaint::error(
            Fault::MtuTooLow,
            text,
            "leave it to the agent, which looks at the way",
        );
        return complaint.setting("cni.mtu", 0);
    }
    let hint = "give the link an MTU that the network carries; tunnel and encryption take 50 to 80 bytes of it";
    let complaint = Complaint::error(Fault::MtuTooLow, text, hint);
    match narrowest {
        Some((link, mtu)) => {
            let enough = mtu + least.saturating_sub(told);
            let link = quoted(std::path::Path::new(link));
            complaint.command(format!("ip link set dev {link} mtu {}", enough.max(1500)))
        }
        None => complaint,
    }
}

/// Whether other nodes' pods are reached.
pub(super) fn ways(scene: &Scene) -> Verdict {
    // Without a Node of its own it would be one of the others.
    let desired = scene.node().and_then(|_| scene.desired());
    desired.map_or_else(
        || Verdict::unknown("not known"),
        |desired| {
            let nodes = &scene.store.read().nodes;
            let conflicts = nodes.values().filter_map(|node| node.conflict());
            let mut verdict = judge_ways(
                desired.ways.len(),
                &desired.unreachable,
                scene.config.routing,
            );
            verdict.complaints.extend(conflicts.map(conflict));
            verdict
        },
    )
}

fn conflict(text: String) -> Complaint {
    Complaint::error(
        Fault::NodeConflict,
        text,
        "correct the Node that is named first, or delete the one that is not there any more (`kubectl delete node`)",
    )
}

fn judge_ways(known: usize, unreachable: &BTreeMap<String, String>, routing: Routing) -> Verdict {
    let complaints = unreachable.iter().map(|(node, why)| {
        let complaint = Complaint::warning(
            Fault::NodeUnreachable,
            format!("pods of node {node} are not reached: {why}"),
            "`routing: auto` takes a tunnel where nothing else leads there, if the node's InternalIP is reached",
        );
        match routing {
            Routing::Direct => complaint.setting("routing", "auto"),
            _ => complaint,
        }
    });
    Verdict::of(
        format!("{known} ranges of other nodes' pods are reached"),
        complaints,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ctl::check::Remedy,
        node::facts::{Address, Interface},
    };

    fn found(way: u32, configured: u32, ipv6: bool) -> Vec<(Fault, Option<Remedy>)> {
        let pods = Mtu {
            way,
            configured,
            in_force: None,
            ipv6,
            there: None,
        };
        let complaints = judge_mtu(&pods, Some(("eth0", way + 50))).complaints;
        complaints
            .into_iter()
            .map(|c| (c.fault, c.remedy))
            .collect()
    }

    #[test]
    fn pods_need_room_of_their_family() {
        assert_eq!(found(1500, 0, true), []);
        assert_eq!(found(1280, 0, true), []);
        assert_eq!(found(1279, 0, false), []);
        let raise = Remedy::Command("ip link set dev eth0 mtu 1500".to_owned());
        assert_eq!(found(1279, 0, true), [(Fault::MtuTooLow, Some(raise))]);
        let auto = Some(Remedy::Setting("cni.mtu=0".to_owned()));
        assert_eq!(found(1500, 1000, true), [(Fault::MtuTooLow, auto.clone())]);
        assert_eq!(found(1450, 1500, true), [(Fault::MtuTooHigh, auto)]);
        assert_eq!(found(1450, 1400, true), []);
        let there = Mtu {
            way: 1300,
            configured: 0,
            in_force: Some(1300),
            ipv6: true,
            there: Some((3, 1500)),
        };
        let told = &judge_mtu(&there, None).complaints[0];
        assert_eq!(told.fault, Fault::MtuTooHigh);
        assert!(
            told.text
                .starts_with("3 pods that are there began with an MTU of 1500")
        );
    }

    #[test]
    fn nothing_chosen_is_no_network() {
        let none = judge_links(&Desired::default());
        assert_eq!(none.complaints[0].fault, Fault::NoLink);
        let mut desired = Desired {
            internal: vec!["192.0.2.1".parse().unwrap()],
            ..Desired::default()
        };
        let strange = judge_addresses(&desired, &Facts::default());
        assert_eq!(strange.complaints[0].fault, Fault::AddressNotHere);
        let range = "192.0.2.0/24".parse().unwrap();
        let way = (("b".to_owned(), range), "direct".to_owned());
        desired.ways = BTreeMap::from([way]);
        let mut facts = Facts::default();
        facts.interfaces.push(Interface {
            name: "eth0".to_owned(),
            addresses: vec![Address {
                net: "192.0.2.1/32".parse().unwrap(),
                global: true,
                preferred: true,
            }],
            ..Interface::default()
        });
        let found = judge_addresses(&desired, &facts).complaints;
        assert_eq!(found[0].fault, Fault::AddressOfPods);
        let remedy = Remedy::Command("ip address delete 192.0.2.1/32 dev eth0".to_owned());
        assert_eq!(found[0].remedy, Some(remedy));
        let lost = BTreeMap::from([("b".to_owned(), "no way".to_owned())]);
        assert_eq!(
            judge_ways(0, &lost, Routing::Auto).complaints[0].fault,
            Fault::NodeUnreachable
        );
    }
}
