//! The whole agent on filters of clsact, as on kernels before 6.6: pods, uplink and `weir_host`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{thread, time::Duration};

use serde_json::Value;
use weir_tests::{
    served::{Pair, await_answer},
    world::{Cluster, until},
};

/// Twice the agent's look at the machine, and then some.
const TWO_PERIODS: Duration = Duration::from_secs(22);
/// One of them, and then some.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where which program has to be.
const PLACES: [(&str, &str, &str); 3] = [
    ("eth0", "ingress", "from_net"),
    ("eth0", "egress", "to_net"),
    ("weir_host", "egress", "from_host"),
];

fn filters(cluster: &Cluster, device: &str, direction: &str) -> String {
    let show = ["tc", "filter", "show", "dev", device, direction];
    cluster.node(0).run(&show).unwrap()
}

/// How often the agent of the first node has said something.
fn said(cluster: &Cluster, words: &str) -> usize {
    cluster.agent(0).log().matches(words).count()
}

fn attached(cluster: &Cluster) -> [usize; 2] {
    ["attached to a link", "attached to weir_host"].map(|words| said(cluster, words))
}

#[test]
fn filters_do_it_all_and_are_left_alone_until_someone_takes_them_off() {
    let flags = ["--tc-attach", "clsact", "--socket-balancing", "false"];
    let pair = Pair::start("clsact", &["a", "b"], &flags).unwrap();
    let cluster = &pair.cluster;
    pair.await_answers().unwrap();
    // The host's own way, by weir_host.
    for to in pair.to {
        await_answer(cluster, cluster.node(0), to).unwrap();
    }
    for (device, direction, program) in PLACES {
        let shown = filters(cluster, device, direction);
        assert!(shown.contains(&format!(" name {program} ")), "{shown}");
    }
    let list = ["sh", "-c", "ls /sys/fs/bpf/weir/*/*/links"];
    let links = cluster.node(0).run(&list).unwrap();
    assert!(
        !links.contains("_net") && !links.contains("_host"),
        "{links}"
    );

    assert_eq!(attached(cluster), [1, 1]);
    thread::sleep(TWO_PERIODS);
    assert_eq!(attached(cluster), [1, 1], "{}", cluster.logs());
    let status = cluster.agent(0).proxyctl(&["status", "-o", "json"]);
    let status: Value = serde_json::from_str(&status.unwrap()).unwrap();
    assert_eq!([&status["cni"]["tcx"], &status["cni"]["clsact"]], [0, 2]);

    for (device, direction, _) in PLACES {
        let words = ["tc", "filter", "del", "dev", device, direction];
        cluster.node(0).run(&words).unwrap();
    }
    until("the filters to be attached again", PATIENCE, || {
        let there = |(device, direction, program): (&str, &str, &str)| {
            filters(cluster, device, direction).contains(program)
        };
        Ok(PLACES.into_iter().all(there).then_some(()))
    })
    .unwrap();
    for to in pair.to {
        await_answer(cluster, cluster.node(0), to).unwrap();
        await_answer(cluster, &pair.client, to).unwrap();
    }
}
