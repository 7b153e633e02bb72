//! Flows whose packets take another way: another node is asked in the middle of a connection, or the mode changes.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use proxy_agent::datapath::Table as _;
use proxy_common::node::NODE_RELAYS;
use serde_json::json;
use weir_tests::{
    datapath::reader,
    world::{Talk, ask_udp, until},
};

use super::bed::{Bed, vips};

/// Far longer than between two looks at the node.
const LONGER: Duration = Duration::from_secs(20);
/// The flow of a closed connection is over by then, where only one of its directions was seen too.
const OVER: Duration = Duration::from_mins(3);

/// As a router that spreads flows over nodes does when one of them is gone: nobody but the table says who serves. The last one
/// is the backend's own node.
#[test]
fn a_connection_goes_on_when_another_node_is_asked() {
    for mode in ["dsr", "tunnel"] {
        let bed = Bed::on_link("moves", mode, &[]);
        bed.service(&json!({}));
        bed.lead_to(0);
        for to in vips() {
            bed.lead_to(0);
            bed.await_answer(to);
            let mut talk = Talk::open(bed.outside(), to).unwrap();
            for node in [0, 2, 1, 2, 0] {
                bed.lead_to(node);
                let said = talk.echo("still here").and_then(|()| talk.stream(1 << 18));
                said.unwrap_or_else(|error| {
                    panic!("{mode} {to} by {node}: {error}\n{}", bed.said())
                });
                ask_udp(bed.outside(), to, b"?").unwrap();
            }
        }
        let [tcp, _] = bed.seen();
        assert!(tcp.iter().all(|ip| bed.clients.contains(ip)), "{tcp:?}");
    }
}

/// A Service says how it is reached; what it says changes.
#[test]
fn a_service_says_how_it_is_reached() {
    let bed = Bed::on_link("says", "snat", &[]);
    let key = "weir.dev/forwarding-mode";
    bed.service(&json!({}));
    let [to, _] = bed.node_ports(0);
    bed.await_answer(to);
    for (mode, marks) in [("dsr", "relayed,direct"), ("tunnel", "relayed")] {
        bed.service(&json!({ key: mode }));
        bed.cluster
            .eventually("flows that are relayed", || {
                ask_udp(bed.outside(), to, b"?").ok()?;
                let flows = bed.flows(0);
                let is_it = |line: &&str| {
                    line.split_whitespace().any(|word| word == marks)
                        && line.contains("at node 172.30.0.12")
                };
                flows.lines().find(is_it).map(drop)
            })
            .unwrap_or_else(|error| panic!("{mode}: {error:#}\n{}", bed.said()));
        bed.serves(to);
        let services = bed
            .cluster
            .agent(0)
            .proxyctl(&["dump", "services"])
            .unwrap();
        assert!(
            services.contains(&format!("NodePort ({mode})")),
            "{services}"
        );
    }
    // What is no mode is told, and nothing changes.
    bed.service(&json!({ key: "fast" }));
    bed.cluster
        .eventually("a word about it", || {
            let log = bed.cluster.agent(0).log();
            log.contains("`fast` is not snat, dsr, tunnel or hybrid")
                .then_some(())
        })
        .unwrap();
    bed.serves(to);
}

/// Packets are relayed as long as a connection needs it that began so, and no longer.
#[test]
fn what_is_relayed_goes_on_when_nothing_is_relayed_any_more() {
    for mode in ["dsr", "tunnel"] {
        let bed = Bed::on_link("ends", "snat", &[]);
        bed.service(&json!({ "weir.dev/forwarding-mode": mode }));
        let tos = bed.node_ports(0);
        let relayed = |bed: &Bed| bed.flows(0).matches("relayed").count();
        let mut talks = tos.map(|to| {
            until(&format!("{mode} of {to}"), LONGER, || {
                let before = relayed(&bed);
                let talk = Talk::open(bed.outside(), to).ok();
                Ok(talk.filter(|_| relayed(&bed) > before))
            })
            .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()))
        });
        bed.service(&json!({}));
        let since = Instant::now();
        while since.elapsed() < LONGER {
            for talk in &mut talks {
                talk.stream(1 << 16)
                    .unwrap_or_else(|error| panic!("{mode}: {error}\n{}", bed.said()));
            }
            sleep(Duration::from_secs(1));
        }
        let relays = || {
            let config = reader(bed.cluster.node(0))?.maps().node_config.get(&0)?;
            anyhow::Ok(config.is_some_and(|config| config.flags & NODE_RELAYS != 0))
        };
        assert!(relays().unwrap());
        for to in tos {
            bed.serves(to);
        }
        drop(talks);
        if mode == "dsr" {
            continue; // The entry node sees one end only, and remembers for long.
        }
        until(
            "an end of relaying",
            OVER,
            || Ok((!relays()?).then_some(())),
        )
        .unwrap_or_else(|error| panic!("{mode}: {error:#}\n{}", bed.said()));
    }
}
