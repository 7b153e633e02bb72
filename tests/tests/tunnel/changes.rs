//! Nodes, links and modes change under traffic.

use std::net::SocketAddr;

use serde_json::json;
use weir_tests::world::{Talk, until};

use super::bed::{Bed, MODES, PATIENCE, PORT};

impl Bed {
    fn talks(&self) -> Vec<Talk> {
        let open = |to: SocketAddr| {
            Talk::open(&self.near, to).unwrap_or_else(|error| panic!("{error}\n{}", self.said()))
        };
        self.far.at(PORT).into_iter().map(open).collect()
    }

    fn go_on(&self, talks: &mut [Talk], when: &str) {
        for talk in talks {
            talk.stream(1 << 18)
                .unwrap_or_else(|error| panic!("{when}: {error}\n{}", self.said()));
        }
        for to in self.far.at(PORT) {
            self.asks(&self.near, to, "far");
        }
    }

    /// Waits until a node's status says something of its ways.
    pub(super) fn says(&self, node: usize, words: &str) {
        let agent = self.cluster.agent(node);
        until(words, PATIENCE, || {
            let (_, status) = agent.proxyctl_verdict(&["status"])?;
            let ways = status.lines().find(|line| line.starts_with("Ways"));
            Ok(ways.is_some_and(|line| line.contains(words)).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.said()));
    }

    /// Tells the agents by the Node of the second one how its pods are reached.
    pub(super) fn annotate(&self, routing: &str) {
        let node = self.cluster.node(1);
        let addresses = node.addresses();
        let listed: Vec<_> = addresses
            .iter()
            .map(|ip| json!({ "type": "InternalIP", "address": ip }))
            .collect();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": node.name(), "annotations": { "weir.dev/routing": routing } },
            "spec": { "podCIDRs": node.pod_ranges() },
            "status": { "addresses": listed },
        });
        self.cluster
            .manifests()
            .apply_objects(&format!("node-{}.yaml", node.name()), &[object])
            .unwrap();
    }
}

/// Gives both nodes' uplinks this MTU.
fn set_uplinks(bed: &Bed, mtu: u32) {
    for node in [0, 1] {
        let set = format!("link set eth0 mtu {mtu}\n");
        bed.cluster.node(node).batch(&set).unwrap();
    }
}

/// Smaller and larger: who sends too much is told, connections live, new pods begin with what there is.
#[test]
fn the_uplink_may_become_narrow() {
    for mode in MODES {
        let bed = Bed::start("narrow", mode, &[]);
        let mut talks = bed.talks();
        bed.go_on(&mut talks, "before");
        for (uplink, what) in [(1400, "narrow"), (1500, "wide")] {
            set_uplinks(&bed, uplink);
            let around = if mode.contains(&"ipv6") { 70 } else { 50 };
            let expected = format!("{}\n", uplink - around);
            for node in [0, 1] {
                until("the MTU of the tunnel", PATIENCE, || {
                    let mtu = bed
                        .cluster
                        .node(node)
                        .run(&["cat", "/sys/class/net/weir_vxlan/mtu"])?;
                    Ok((mtu == expected).then_some(()))
                })
                .unwrap();
            }
            bed.go_on(&mut talks, what);
            let pod = bed.cluster.pod(0, what).unwrap();
            let link = pod.run(&["ip", "link", "show", "dev", "eth0"]).unwrap();
            let mtu = format!(" mtu {} ", expected.trim());
            assert!(link.contains(&mtu), "{link}");
            for to in bed.far.at(PORT) {
                bed.streams(&pod, to);
            }
        }
        bed.is_tight();
    }
}

/// The same without a tunnel: pods have the room that the uplink has.
#[test]
fn a_direct_way_may_become_narrow() {
    for mode in [MODES[0], MODES[2]] {
        let bed = Bed::on_a_link("straight", &["a", "b"], mode);
        let mut talks = bed.talks();
        bed.go_on(&mut talks, "before");
        for (uplink, what) in [(1400, "narrow"), (1500, "wide")] {
            set_uplinks(&bed, uplink);
            bed.go_on(&mut talks, what);
            let expected = format!(" mtu {uplink} ");
            let mut number = 0;
            let pod = until("a pod with the new MTU", PATIENCE, || {
                number += 1;
                let pod = bed.cluster.pod(0, &format!("{what}{number}"))?;
                let link = pod.run(&["ip", "link", "show", "dev", "eth0"])?;
                Ok(link.contains(&expected).then_some(pod))
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
            for to in bed.far.at(PORT) {
                bed.streams(&pod, to);
            }
            bed.go_on(&mut talks, what);
        }
    }
}

/// Both nodes on one link: the way follows what is said of one of them, and connections live through it.
#[test]
fn the_mode_of_a_node_changes_under_traffic() {
    for mode in MODES {
        let bed = Bed::on_a_link("mode", &["a", "b"], mode);
        let mut talks = bed.talks();
        bed.go_on(&mut talks, "direct");
        bed.says(0, "direct 2");
        for (routing, words) in [
            ("tunnel", "tunnel 2"),
            ("auto", "direct 2"),
            ("tunnel", "tunnel 2"),
        ] {
            bed.annotate(routing);
            for node in [0, 1] {
                bed.says(node, words);
            }
            bed.go_on(&mut talks, words);
        }
    }
}

/// Without an agent the tunnel goes on, and so it does with the next one.
#[test]
fn an_agent_may_be_away() {
    let mut bed = Bed::start("away", &[], &[]);
    let mut talks = bed.talks();
    bed.go_on(&mut talks, "before");
    bed.cluster.agent_mut(0).crash().unwrap();
    bed.go_on(&mut talks, "without an agent");
    bed.cluster.agent_mut(0).restart().unwrap();
    bed.go_on(&mut talks, "with another agent");
    bed.is_tight();
}
