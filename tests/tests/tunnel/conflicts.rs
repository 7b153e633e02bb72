//! Nodes that name what another one has: its ranges of pods, its addresses.

use serde_json::{Value, json};
use weir_tests::{
    length::steps,
    world::{Node, until},
};

use super::{
    bed::{Bed, Mode, PATIENCE, PORT},
    nodes::{WAYS, talks, under_traffic},
};

/// Goes before the others by its name: manifests do not say who is older.
const STRANGER: &str = "0";
const FILE: &str = "node-0.yaml";
/// Addresses that nobody has.
const NOWHERE: [&str; 2] = ["172.30.0.99", "fd30::63"];

/// A Node with these ranges, at these addresses.
fn object(name: &str, ranges: &[String], addresses: &[String]) -> Value {
    let addresses = addresses.iter();
    let addresses: Vec<Value> = addresses
        .map(|ip| json!({ "type": "InternalIP", "address": ip }))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name },
        "spec": { "podCIDRs": ranges },
        "status": { "addresses": addresses },
    })
}

/// What a stranger may say of itself to have what a node has.
fn claims(node: &Node) -> Vec<Value> {
    let own: Vec<String> = node.addresses().iter().map(ToString::to_string).collect();
    let nowhere = NOWHERE.map(str::to_owned);
    let both = [&nowhere[..], &own[..]].concat();
    let ranges = node.pod_ranges();
    let narrower: Vec<String> = ranges
        .iter()
        .map(|range| match range.split_once('/') {
            Some((first, "24")) => format!("{first}/25"),
            Some((first, _)) => format!("{first}/100"),
            None => panic!("{range} is no range"),
        })
        .collect();
    let hosts: Vec<String> = node
        .addresses()
        .iter()
        .map(|ip| format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 }))
        .collect();
    vec![
        object(STRANGER, &ranges, &nowhere),
        object(STRANGER, &narrower, &nowhere),
        object(STRANGER, &hosts, &nowhere),
        object(STRANGER, &ranges, &both),
        {
            let mut object = object(STRANGER, &[], &nowhere);
            object["metadata"]["annotations"] = json!({ "weir.dev/pod-ranges": ranges.join(",") });
            object
        },
    ]
}

impl Bed {
    /// Waits until the status of a node says, or says no longer, that the stranger names what this node has.
    fn tells(&self, at: usize, of: Option<&Node>) {
        let agent = self.cluster.agent(at);
        let words = of.map(|node| format!("which node {} has", node.name()));
        until("the row Ways", PATIENCE, || {
            let (_, status) = agent.proxyctl_verdict(&["status"])?;
            let is_told = match &words {
                Some(words) => status.contains(words) && status.contains("node 0 names"),
                None => !status.contains("node 0 names"),
            };
            Ok(is_told.then_some(()))
        })
        .unwrap_or_else(|error| panic!("{words:?}: {error:#}\n{}", self.said()));
    }

    /// What leads from a node to others.
    fn ways(&self, at: usize) -> String {
        let shell = "ip route show proto 87; ip -6 route show proto 87";
        let routes = self.cluster.node(at).run(&["sh", "-c", shell]).unwrap();
        let tunnels = self.cluster.agent(at).proxyctl(&["dump", "tunnels"]);
        format!("{routes}{}", tunnels.unwrap())
    }

    fn put(&self, object: Value) {
        let manifests = self.cluster.manifests();
        manifests.apply_objects(FILE, &[object]).unwrap();
    }
}

/// Whatever it says of itself, a stranger takes no traffic of a node, and leaves nothing behind.
#[test]
fn what_a_node_has_no_other_one_takes() {
    for mode in WAYS {
        let bed = Bed::on_a_link("named", &["a", "b"], mode);
        let mut talks = talks(&bed, &bed.far.at(PORT));
        let before = [0, 1].map(|node| bed.ways(node));
        under_traffic(&mut talks, &bed, || {
            for of in [1, 0].into_iter().take(steps(1, 2) as usize) {
                for object in claims(bed.cluster.node(of)) {
                    bed.put(object);
                    for node in [0, 1] {
                        bed.tells(node, Some(bed.cluster.node(of)));
                    }
                    let found = bed.cluster.agent(0).proxyctl_verdict(&["check"]).unwrap().1;
                    assert!(found.contains("node-conflict"), "{found}");
                    goes_on(&bed, mode);
                    // Its own addresses are its own.
                    let led = [0, 1].map(|node| strip(&bed.ways(node)));
                    assert_eq!(led, before.clone().map(|ways| strip(&ways)), "{mode:?}");
                    bed.cluster.manifests().remove(FILE).unwrap();
                    for node in [0, 1] {
                        bed.tells(node, None);
                    }
                    goes_on(&bed, mode);
                }
            }
        });
        until("nothing to be left", PATIENCE, || {
            let after = [0, 1].map(|node| bed.ways(node));
            Ok((after == before).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
    }
}

/// Without what leads to the stranger itself.
fn strip(ways: &str) -> String {
    let lines = ways.lines();
    let others = lines.filter(|line| !NOWHERE.iter().any(|ip| line.trim_start().starts_with(ip)));
    others.collect::<Vec<_>>().join("\n")
}

fn goes_on(bed: &Bed, mode: Mode) {
    for (far, near) in bed.far.at(PORT).into_iter().zip(bed.near.at(PORT)) {
        bed.asks(&bed.near, far, "far");
        bed.asks(&bed.far, near, "near");
    }
    for (node, to) in [(0, &bed.far), (1, &bed.near)] {
        for at in to.at(PORT) {
            bed.asks(bed.cluster.node(node), at, to.name());
        }
    }
    let dropped = [0, 1].map(|node| bed.dropped(node, "not-a-peer"));
    assert_eq!(dropped, [0, 0], "{mode:?}");
}

/// A machine that registers anew under another name: the new Node has its ranges when the old one is deleted, and traffic goes
/// on.
#[test]
fn a_node_is_replaced_by_one_of_another_name() {
    for mode in WAYS {
        let bed = Bed::on_a_link("renamed", &["a", "b"], mode);
        let mut talks = talks(&bed, &bed.far.at(PORT));
        let node = bed.cluster.node(1);
        let own = node.addresses().map(|ip| ip.to_string());
        under_traffic(&mut talks, &bed, || {
            bed.put(object(STRANGER, &node.pod_ranges(), &own));
            bed.tells(0, Some(node));
            bed.cluster.manifests().remove("node-b.yaml").unwrap();
            bed.tells(0, None);
            let agent = bed.cluster.agent(0);
            until("ways to the new Node", PATIENCE, || {
                let (_, status) = agent.proxyctl_verdict(&["status"])?;
                let is_there = status.contains(&format!("{STRANGER} {}: ", node.pod_ranges()[0]));
                Ok(is_there.then_some(()))
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
            goes_on(&bed, mode);
        });
    }
}
