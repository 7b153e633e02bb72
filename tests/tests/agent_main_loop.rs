//! What the main loop's thread does not do: no file by its name, no netlink. Either may wait for as long as a disk or another
//! process pleases, and with it each pod and each Service.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use weir_tests::{
    thread_calls::ThreadCalls,
    world::{Cluster, Node},
};

/// What somebody breaks, and how it is when it is well.
const BROKEN: [(&str, &str); 5] = [
    (
        "echo 0 >/proc/sys/net/ipv4/ip_forward",
        "grep -qx 1 /proc/sys/net/ipv4/ip_forward",
    ),
    (
        "rm /run/cni/net.d/*.conflist",
        "ls /run/cni/net.d/*.conflist",
    ),
    (
        "ip route flush proto 89; ip link set weir_net mtu 1300",
        "ip route show proto 89 | grep -q . && ! grep -qx 1300 /sys/class/net/weir_net/mtu",
    ),
    (
        "ip link add more type veth peer name mere; ip addr add 192.0.2.7/24 dev more; ip link set more up; ip link set mere up",
        "find /sys/fs/bpf -path \"*/links/from_net-$(cat /sys/class/net/more/ifindex)\" | grep -q .",
    ),
    // Of the pod with limits.
    (
        "tc qdisc del dev $(ls /sys/class/net | grep '^weirq.*i$') root",
        "test $(tc qdisc show | grep -c ' 576[56]: ') = 2",
    ),
];

fn shell(node: &Node, script: &str) -> Result<String> {
    node.run(&["sh", "-c", script])
}

#[test]
fn the_main_loop_waits_for_no_file_and_no_netlink() -> Result<()> {
    let flags = ["--map-size", "small"];
    let cluster = Cluster::start("main-loop", &["a", "b"], &flags)?;
    let node = cluster.node(0);
    let stays = cluster.pod(0, "stays")?;
    let id = cluster.agent(0).id().context("no agent")?;
    // The main thread, whose number is the process's, is the main loop's.
    let calls = ThreadCalls::of(id)?;
    let comes = cluster.pod(0, "comes")?;
    cluster.service("web", 1, &[&stays, &comes], &json!({}))?;
    cluster.eventually("programs on pods", || {
        let found = shell(node, "find /sys/fs/bpf -path '*/links/*_pod-*' | wc -l");
        found.is_ok_and(|found| found.trim() == "4").then_some(())
    })?;
    let limits = json!({
        "kubernetes.io/ingress-bandwidth": "20M",
        "kubernetes.io/egress-bandwidth": "20M",
    });
    let told = json!({ "IngressRate": 20_000_000, "EgressRate": 20_000_000 });
    let slow = cluster.annotated_pod(0, "slow", &limits, &told)?;
    for (harm, well) in BROKEN {
        shell(node, harm)?;
        cluster.eventually(harm, || shell(node, well).is_ok().then_some(()))?;
    }
    shell(node, "find /sys/fs/bpf -path '*/links/*_pod-*' -delete")?;
    cluster.agent(0).proxyctl(&["status"])?;
    cluster.service("web", 1, &[&stays], &json!({}))?;
    drop((comes, slow));
    cluster.eventually("the pod to be gone", || {
        let told = cluster.agent(0).proxyctl(&["status", "-o", "json"]).ok()?;
        let told: Value = serde_json::from_str(&told).ok()?;
        (told["cni"]["pods"] == 1).then_some(())
    })?;
    shell(node, "ip link del more")?;
    let (count, mut noted) = calls.end()?;
    ensure!(count > 100, "the main loop made {count} calls alone");
    // Debug builds look there whether a test stops the task.
    noted.retain(|call| !call.contains("/faults/"));
    ensure!(noted.is_empty(), "of {count} calls:\n{}", noted.join("\n"));
    Ok(())
}
