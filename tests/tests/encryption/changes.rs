//! Keys change and things break under traffic.

use std::{fs, os::fd::AsFd as _, thread};

use nix::sched::{CloneFlags, setns};
use proxy_agent::node::encryption::{key::PublicKey, plan::Change, wire::WireGuard};
use weir_tests::world::{Talk, until};

use super::{
    bed::{Bed, PATIENCE, PORT},
    unable::is_able,
};

impl Bed {
    fn go_on(&self, talks: &mut [Talk], when: &str) {
        for talk in talks {
            talk.stream(1 << 18)
                .unwrap_or_else(|error| panic!("{when}: {error}\n{}", self.said()));
        }
        for to in self.far.at(PORT) {
            self.await_answer(&self.near, to);
            self.asks(&self.near, to, "far");
        }
        let clear = self.watch.take().clear;
        assert_eq!(clear, [""; 0], "{when}\n{}", self.said());
    }

    /// Has a node forget what it has agreed on with its peers.
    fn forget(&self, node: usize) {
        let netns = self.cluster.node(node).netns().try_clone().unwrap();
        let forget = move || {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            let mut wire = WireGuard::open().unwrap();
            for key in wire.read().unwrap().peers.into_keys() {
                wire.set_peer(key, &Change::Remove).unwrap();
            }
        };
        thread::spawn(forget).join().unwrap();
    }

    /// Removes the peer that the first node has.
    fn remove_peer(&self, key: &str) {
        let key: PublicKey = key.parse().unwrap();
        let netns = self.node().netns().try_clone().unwrap();
        let remove = move || {
            setns(netns.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            let mut wire = WireGuard::open().unwrap();
            assert!(wire.read().unwrap().peers.contains_key(&key));
            wire.set_peer(key, &Change::Remove).unwrap();
        };
        thread::spawn(remove).join().unwrap();
    }
}

#[test]
fn keys_and_devices_change_under_traffic() {
    let strict = ["--encryption-strict", "true"];
    if !is_able(&strict) {
        return;
    }
    let bed = Bed::start("changes", &strict);
    bed.encrypt();
    let open = |to| {
        bed.await_answer(&bed.near, to);
        Talk::open(&bed.near, to).unwrap()
    };
    let mut talks: Vec<Talk> = bed.far.at(PORT).into_iter().map(open).collect();
    bed.go_on(&mut talks, "before");
    for node in [0, 1] {
        let key = bed.renew(node);
        bed.annotate(node, Some(&key));
        bed.go_on(&mut talks, "a new key");
        until("the former key to go", PATIENCE, || {
            let status = bed.status(1 - node);
            let peers = status["peers"].as_array().map_or(0, Vec::len);
            Ok((peers == 1 && status["peers"][0]["key"] == key.as_str()).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", bed.said()));
    }
    let shell = |script: &str| bed.node().run(&["sh", "-c", script]).unwrap();
    for harm in [
        "ip link del weir_wg",
        "ip link set weir_wg down",
        // The agent makes another one as soon as it hears of it: tried until this is first.
        "until ip link del weir_wg && ip link add weir_wg type dummy; do :; done",
        "ip route flush proto 87; ip -6 route flush proto 87",
        "cd /proc/sys/net/ipv4/conf; echo 1 >weir_wg/rp_filter; echo 0 >weir_wg/forwarding",
        "find /sys/fs/bpf -path '*/links/*_net_bare-*' -delete",
    ] {
        shell(harm);
        bed.go_on(&mut talks, harm);
    }
    let peer = bed.key(1, None);
    bed.remove_peer(&peer);
    bed.go_on(&mut talks, "a peer is gone");
}

/// Nobody hears of a new key while the API server is away: the nodes speak to each other with those that they know, whoever is
/// killed meanwhile.
#[test]
fn a_new_key_waits_for_the_api_server() {
    let strict = ["--encryption-strict", "true"];
    if !is_able(&strict) {
        return;
    }
    let mut bed = Bed::start("waits", &strict);
    bed.encrypt();
    let open = |to| {
        bed.await_answer(&bed.near, to);
        Talk::open(&bed.near, to).unwrap()
    };
    let mut talks: Vec<Talk> = bed.far.at(PORT).into_iter().map(open).collect();
    for node in [0, 1] {
        let former = bed.key(node, None);
        let next = bed.renew(node);
        bed.go_on(&mut talks, "a key is made");
        bed.cluster.agent_mut(node).crash().unwrap();
        bed.cluster.agent_mut(node).restart().unwrap();
        assert_eq!(bed.next_key(node), next, "{}", bed.said());
        // What was agreed on is forgotten: hands are shaken with what both know.
        bed.forget(node);
        bed.go_on(&mut talks, "the agent was killed");
        assert_eq!(bed.key(node, None), former, "{}", bed.said());
        bed.annotate(node, Some(&next));
        assert_eq!(bed.key(node, Some(&former)), next);
        bed.go_on(&mut talks, "the API server is back");
    }
}

/// As copies of a machine that ran: both are named, and make themselves other keys.
#[test]
fn nodes_with_one_key_make_new_ones() {
    let strict = ["--encryption-strict", "true"];
    if !is_able(&strict) {
        return;
    }
    let bed = Bed::start("copies", &strict);
    bed.encrypt();
    let file = |node: usize, name: &str| bed.cluster.node(node).file(&format!("/run/weir/{name}"));
    fs::copy(file(0, "wireguard.key"), file(1, "wireguard.key")).unwrap();
    for node in [0, 1] {
        // Made long ago.
        fs::write(file(node, "wireguard.made"), "before 0\n").unwrap();
    }
    let one = bed.key(0, None);
    bed.annotate(1, Some(&one));
    // Each finds it before the other has made it good.
    let next = [0, 1].map(|node| bed.next_key(node));
    for (node, next) in next.into_iter().enumerate() {
        if node == 0 {
            let (_, said) = bed.cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
            assert!(
                said.contains("node b has published the WireGuard key of node a"),
                "{said}"
            );
        }
        bed.annotate(node, Some(&next));
        assert_eq!(bed.key(node, Some(&one)), next, "{}", bed.said());
    }
    bed.await_peers();
    for to in bed.far.at(PORT) {
        bed.await_answer(&bed.near, to);
        bed.asks(&bed.near, to, "far");
    }
}
