//! How pods' interfaces are attached: filters of clsact at first, TCX links when the node is quiet, and no packet that
//! notices.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use weir_tests::{
    served::serve,
    world::{Cluster, Pod, Talk, ask_tcp, ask_udp, cluster::POD_PORT},
};

/// `tcx` and `clsact` of `proxyctl status`.
fn modes(cluster: &Cluster) -> [u64; 2] {
    let status = cluster.agent(0).proxyctl(&["status", "-o", "json"]);
    let status: Value = serde_json::from_str(&status.unwrap()).unwrap();
    ["tcx", "clsact"].map(|mode| status["cni"][mode].as_u64().unwrap())
}

fn await_modes(cluster: &Cluster, what: &str, expected: [u64; 2]) {
    let look = || (modes(cluster) == expected).then_some(());
    cluster
        .eventually(&format!("{expected:?} tcx and clsact: {what}"), look)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.logs()));
}

fn open(client: &Pod, server: &Pod) -> Talk {
    Talk::open(client, server.at(POD_PORT)[0]).unwrap()
}

/// Packets that the filters of the node's pods have seen.
fn filtered(cluster: &Cluster) -> u64 {
    let shown = cluster.node(0).run(&["tc", "-s", "qdisc", "show"]).unwrap();
    let mut sum = 0;
    let mut lines = shown.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("qdisc clsact") {
            let sent = lines.next().unwrap();
            let packets = sent.split_whitespace().nth(3).unwrap();
            sum += packets.parse::<u64>().unwrap();
        }
    }
    sum
}

fn ask_both(client: &Pod, server: &Pod) {
    for to in server.at(POD_PORT) {
        ask_tcp(client, to).unwrap();
        ask_udp(client, to, b"?").unwrap();
    }
}

/// In stack mode each packet passes both programs, and both let it go on.
const STACK: &[&str] = &["--forwarding", "stack"];

#[test]
fn a_lifted_packet_meets_each_program_once_and_connections_stay() {
    let cluster = Cluster::start("lift", &["a"], STACK).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let server = cluster.pod(0, "server").unwrap();
    let _servers = serve(&server).unwrap();
    ask_both(&client, &server);
    assert!(filtered(&cluster) > 0, "filters first");
    let mut open = open(&client, &server);
    open.echo("before").unwrap();
    await_modes(&cluster, "lifted", [2, 0]);
    open.echo("after").unwrap();
    let before = filtered(&cluster);
    ask_both(&client, &server);
    open.echo("again").unwrap();
    assert_eq!(filtered(&cluster), before, "the links have the last word");
}

#[test]
fn an_agent_that_finds_links_and_filters_goes_on_with_both() {
    let mut cluster = Cluster::start("mixed", &["a"], STACK).unwrap();
    let client = cluster.pod(0, "client").unwrap();
    let server = cluster.pod(0, "server").unwrap();
    let _servers = serve(&server).unwrap();
    let mut open = open(&client, &server);
    await_modes(&cluster, "lifted", [2, 0]);
    cluster.agent_mut(0).crash().unwrap();
    // One pod loses its links: its filters are still there.
    let links = cluster
        .node(0)
        .run(&["sh", "-c", "ls -d /sys/fs/bpf/weir/*/*/links/*_pod-*"]);
    let links = links.unwrap();
    let number = |path: &str| path.rsplit('-').next().unwrap().to_owned();
    let first = number(links.lines().next().unwrap());
    for link in links.lines().filter(|link| number(link) == first) {
        cluster.node(0).run(&["rm", link]).unwrap();
    }
    open.echo("by filters").unwrap();
    assert!(filtered(&cluster) > 0);
    ask_both(&client, &server);
    cluster.agent_mut(0).restart().unwrap();
    // Time enough to be lifted again may have passed.
    assert_eq!(modes(&cluster).iter().sum::<u64>(), 2);
    open.echo("mixed").unwrap();
    let third = cluster.pod(0, "third").unwrap();
    ask_both(&third, &server);
    await_modes(&cluster, "lifted again", [3, 0]);
    open.echo("lifted again").unwrap();
    ask_both(&client, &server);
    drop(third);
    await_modes(&cluster, "one less", [2, 0]);
}
