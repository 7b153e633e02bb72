//! What the configuration says of ways: `hybrid`, the tunnel's port and network; and what the tunnel does not take away.

use std::fs;

use weir_tests::world::{Cluster, Network, Node, Talk, World, until};

use super::{
    bed::{Bed, MODES, PATIENCE, PORT, serve},
    nodes::tell,
};

/// Moves a node to another link than that of all others, behind a router.
fn apart(world: &World, node: &Node) -> anyhow::Result<()> {
    if node.name() != "c" {
        return Ok(());
    }
    world.route_nodes()?;
    // What it does not route is not its business.
    let bridged = "cd /proc/sys/net/bridge 2>/dev/null || exit 0; for file in bridge-nf-call-*tables; do echo 0 >$file; done";
    world.outside().run(&["sh", "-c", bridged])?;
    node.nic("eth1", 1)?;
    let [v4, v6] = Network { number: 1 }.fabric();
    node.batch(&format!(
        "link set eth0 down\nroute replace default via {v4}\nroute replace ::/0 via {v6}\n"
    ))
}

/// Directly where nodes are on one link, by the tunnel where not; and so it stays when one of the two is told otherwise for a while.
#[test]
fn hybrid_takes_the_tunnel_only_where_it_must() {
    for mode in [MODES[0], MODES[2]] {
        let common = [
            "--map-size",
            "small",
            "--routing",
            "hybrid",
            "--node-address=",
        ];
        let flags = [&common, mode].concat();
        let bed =
            Bed::on(Cluster::start_prepared("hybrid", &["a", "b", "c"], &flags, apart).unwrap());
        let node = bed.cluster.node(2);
        tell(&bed, node, Network { number: 1 }.member(13));
        let beyond = bed.cluster.pod(2, "beyond").unwrap();
        let _servers = serve(&beyond);
        bed.says(0, "direct 2   tunnel 2");
        bed.says(2, "tunnel 4");
        let reach = |when: &str| {
            for (to, name) in [(&bed.far, "far"), (&beyond, "beyond"), (&bed.near, "near")] {
                for from in [&bed.near, &bed.far, &beyond] {
                    for to in to.at(PORT) {
                        bed.await_answer(from, to);
                        bed.asks(from, to, name);
                        Talk::open(from, to)
                            .and_then(|mut talk| talk.stream(1 << 17))
                            .unwrap_or_else(|error| {
                                panic!("{when}: {to}: {error}\n{}", bed.said())
                            });
                    }
                }
            }
            bed.is_tight();
        };
        reach("as it is");
        for (routing, words) in [("tunnel", "tunnel 4"), ("auto", "direct 2   tunnel 2")] {
            bed.annotate(routing);
            bed.says(0, words);
            reach(routing);
        }
    }
}

/// Where the configuration of a node is.
const FILE: &str = "/run/agent.yaml";

fn configure(node: &Node, port: u16, vni: u32) -> anyhow::Result<()> {
    let text = format!(
        "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\ntunnel: {{ port: {port}, vni: {vni} }}\n"
    );
    fs::write(node.file(FILE), text)?;
    Ok(())
}

impl Bed {
    /// Has the router count what goes to this port.
    fn count(&self, port: u16) {
        let rules = format!(
            "table inet port{port} {{\ncounter seen {{ }}\nchain watch {{\n\
             type filter hook prerouting priority -450\nudp dport {port} counter name seen\n}}\n}}\n"
        );
        let outside = self.cluster.world().outside();
        outside.run_with_input(&["nft", "-f", "-"], &rules).unwrap();
    }

    fn counted(&self, port: u16) -> u64 {
        let table = format!("port{port}");
        let listed = ["nft", "list", "counter", "inet", &table, "seen"];
        let text = self.cluster.world().outside().run(&listed).unwrap();
        let mut words = text.split_whitespace();
        words.find(|word| *word == "packets");
        words.next().unwrap().parse().unwrap()
    }
}

/// Without a restart, and connections live through it. As long as two nodes differ, neither takes what the other sends.
#[test]
fn port_and_network_change_live() {
    let (first, second) = ((4789, 7), (8472, 8));
    for mode in MODES {
        let flags = [&["--map-size", "small", "--config", FILE], mode].concat();
        let route = |world: &World, node: &Node| {
            configure(node, first.0, first.1)?;
            if node.name() == "a" {
                world.route_nodes()?;
            }
            node.behind_router()
        };
        let bed = Bed::on(Cluster::start_prepared("settings", &["a", "b"], &flags, route).unwrap());
        for (port, _) in [first, second] {
            bed.count(port);
        }
        let mut talks: Vec<Talk> = Vec::new();
        for to in bed.far.at(PORT) {
            bed.await_answer(&bed.near, to);
            talks.push(Talk::open(&bed.near, to).unwrap());
        }
        // The network alone: who has heard of it sends what the other does not take.
        let before = bed.dropped(1, "not-a-peer");
        configure(bed.node(), first.0, second.1).unwrap();
        until("the other to refuse it", PATIENCE, || {
            let to = bed.far.at(PORT)[0];
            bed.near.udp("0.0.0.0:0".parse()?)?.send_to(b"?", to)?;
            Ok((bed.dropped(1, "not-a-peer") > before).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
        for node in [0, 1] {
            configure(bed.cluster.node(node), second.0, second.1).unwrap();
        }
        for talk in &mut talks {
            talk.stream(1 << 18)
                .unwrap_or_else(|error| panic!("{mode:?}: {error}\n{}", bed.said()));
        }
        until("the former port to be silent", PATIENCE, || {
            let former = bed.counted(first.0);
            for to in bed.far.at(PORT) {
                bed.asks(&bed.near, to, "far");
            }
            Ok((bed.counted(first.0) == former).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
        assert!(bed.counted(second.0) > 0, "{mode:?}\n{}", bed.said());
        bed.is_tight();
    }
}

/// What a node's device of the tunnel has counted: bytes and packets, sent or received.
fn figures(node: &Node, way: &str) -> [u64; 2] {
    ["bytes", "packets"].map(|what| {
        let file = format!("/sys/class/net/weir_vxlan/statistics/{way}_{what}");
        node.run(&["cat", &file]).unwrap().trim().parse().unwrap()
    })
}

/// Packets of many segments go into the tunnel and come out of it as they are: nobody cuts them on the way.
#[test]
fn packets_of_many_segments_stay_whole() {
    for mode in MODES {
        // On one link: the router's bridge cuts what it routes.
        let flags = [&["--map-size", "small", "--routing", "tunnel"], mode].concat();
        let bed = Bed::on(Cluster::start("segments", &["a", "b"], &flags).unwrap());
        for to in bed.far.at(PORT) {
            bed.await_answer(&bed.near, to);
            let (near, far) = (bed.node(), bed.cluster.node(1));
            let before = [figures(near, "tx"), figures(far, "rx")];
            bed.streams(&bed.near, to);
            bed.streams(&bed.near, to);
            let after = [figures(near, "tx"), figures(far, "rx")];
            for (before, after) in before.into_iter().zip(after) {
                let [bytes, packets] = [0, 1].map(|index| after[index] - before[index]);
                // Acknowledgements of what comes back are among them.
                let mean = bytes / packets;
                assert!(
                    mean > 2 * 1500,
                    "{mode:?}: {bytes} bytes in {packets} packets\n{}",
                    bed.said()
                );
            }
        }
    }
}
