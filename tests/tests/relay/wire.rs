//! Relayed by XDP, which puts packets into the tunnel by itself.

use serde_json::json;
use weir_tests::{datapath::reader, wire::Ends};

use super::bed::{Bed, vips};

/// Frames that XDP of a node has sent back by their link.
fn sent_back(bed: &Bed, node: usize) -> u64 {
    let reader = reader(bed.cluster.node(node)).unwrap();
    let verdicts = reader.maps().drops.xdp().unwrap();
    let found = verdicts.into_iter().find(|(name, _)| *name == "back");
    found.unwrap().1.packets
}

/// Waits until XDP is at the link of a node.
fn await_xdp(bed: &Bed, node: usize) {
    let agent = bed.cluster.agent(node);
    bed.cluster
        .eventually("XDP at the link", || {
            let (_, text) = agent.proxyctl_verdict(&["status"]).ok()?;
            let mut lines = text.lines();
            let row = lines.find(|line| line.starts_with("XDP "))?;
            row.contains("eth0 native").then_some(())
        })
        .unwrap();
}

/// The other node's own device takes it out again: what was made is what the kernel makes.
#[test]
fn xdp_relays_and_the_backends_node_serves() {
    // What is put around a packet does not depend on who answers.
    for (mode, underlay) in [("dsr", "ipv6"), ("tunnel", "ipv4")] {
        let flags = ["--xdp", "native", "--tunnel-underlay", underlay];
        let bed = Bed::on_link("wire", mode, &flags);
        let _ends = Ends::ready(bed.outside(), &["port1", "port2", "port3"]).unwrap();
        await_xdp(&bed, 0);
        bed.service(&json!({}));
        bed.lead_to(0);
        let tos = bed.node_ports(0).into_iter().chain(vips());
        for to in tos {
            bed.await_answer(to);
            let before = sent_back(&bed, 0);
            bed.serves(to);
            // Eight connections, of which each takes three packets of the client's at least, and eight datagrams.
            let sent = sent_back(&bed, 0) - before;
            assert!(
                sent >= 32,
                "{mode} over {underlay}, {to}: {sent}\n{}",
                bed.said()
            );
        }
        let [tcp, udp] = bed.seen();
        for ip in tcp.iter().chain(&udp) {
            assert!(bed.clients.contains(ip), "{mode} over {underlay}: {ip}");
        }
        assert_eq!(bed.dropped(0, "no-tunnel") + bed.dropped(1, "no-tunnel"), 0);
    }
}
