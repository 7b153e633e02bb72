//! What may not go unencrypted does not go: from the first packet, whoever is known, whatever begins anew.

use std::net::SocketAddr;

use weir_tests::world::{Place, Server, Talk, ask_tcp, ask_udp, until};

use super::{
    bed::{Bed, PATIENCE, PORT},
    unable::is_able,
};

const MODES: [&[&str]; 2] = [
    &["--encryption-strict", "true"],
    &[
        "--encryption-strict",
        "true",
        "--forwarding",
        "stack",
        "--routing",
        "tunnel",
    ],
];

impl Bed {
    /// Nothing gets to the other node's pod, or to anybody who may be one, and nothing is on the network.
    fn is_closed(&self, by_programs: bool) {
        let stranger: SocketAddr = ([10, 244, 77, 7], PORT).into();
        let before = self.dropped(0, "not-encrypted");
        let near: &Place = &self.near;
        for from in [near, self.node()] {
            for to in self.far.at(PORT).into_iter().chain([stranger]) {
                assert!(ask_tcp(from, to).is_err(), "{to}\n{}", self.said());
                assert!(ask_udp(from, to, b"?").is_err(), "{to}\n{}", self.said());
            }
        }
        // A pod may not tell the other node's own processes either, which it would tell encrypted.
        let node = self.cluster.node(1);
        for address in node.addresses() {
            let to = SocketAddr::new(address, PORT);
            let _server = Server::tcp(node, to, "node").unwrap();
            assert!(ask_tcp(near, to).is_err(), "{to}\n{}", self.said());
            ask_tcp(self.node(), to).unwrap();
        }
        let seen = self.watch.take();
        assert_eq!(seen.clear, [""; 0], "{}", self.said());
        if by_programs {
            assert!(self.dropped(0, "not-encrypted") > before, "{}", self.said());
        }
    }
}

fn is_strict(mode: &[&str]) {
    if !is_able(mode) {
        return;
    }
    let mut bed = Bed::start("strict", mode);
    let by_programs = !mode.contains(&"stack");
    bed.is_closed(by_programs);
    // One alone can do nothing.
    bed.publish(1);
    until("a peer", PATIENCE, || {
        Ok(bed.status(0)["peers"][0].is_object().then_some(()))
    })
    .unwrap();
    for to in bed.far.at(PORT) {
        assert!(ask_tcp(&bed.near, to).is_err(), "{to}");
    }
    bed.publish(0);
    bed.await_peers();
    let mut talks: Vec<Talk> = Vec::new();
    for to in bed.far.at(PORT) {
        bed.await_answer(&bed.near, to);
        bed.asks(&bed.near, to, "far");
        talks.push(Talk::open(&bed.near, to).unwrap());
    }
    bed.is_hidden();
    // Without an agent, and with the next one.
    bed.cluster.agent_mut(0).crash().unwrap();
    for talk in &mut talks {
        talk.stream(1 << 18).unwrap();
    }
    bed.cluster.agent_mut(0).restart().unwrap();
    for talk in &mut talks {
        talk.stream(1 << 18).unwrap();
    }
    bed.is_hidden();
    // A key that is withdrawn, one that is none, and one of another node.
    for key in [None, Some("none"), Some(bed.key(0, None).as_str())] {
        bed.annotate(1, key);
        until("the peer to go", PATIENCE, || {
            Ok(bed.status(0)["peers"][0].is_null().then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
        bed.watch.take();
        bed.is_closed(by_programs);
    }
    bed.publish(1);
    bed.await_peers();
    for talk in &mut talks {
        talk.stream(1 << 18)
            .unwrap_or_else(|error| panic!("{error}\n{}", bed.said()));
    }
    bed.is_hidden();
}

#[test]
fn nothing_leaves_unencrypted_past_the_stack() {
    is_strict(MODES[0]);
}

#[test]
fn nothing_leaves_unencrypted_through_the_stack() {
    is_strict(MODES[1]);
}
