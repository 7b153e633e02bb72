//! Pods whose records the agent cannot read, or that have none: they go on, over a restart and a sweep.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf, time::Duration};

use weir_tests::world::{Cluster, Pod, Server, ask_tcp, cluster::POD_PORT, until};

/// The record of a pod, as seen from outside of the node.
fn record(cluster: &Cluster, pod: &Pod) -> PathBuf {
    let folder = cluster.node(0).file("/run/weir/att");
    let name = format!("\"{}\"", pod.name());
    let files = fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path());
    let of_pod = |file: &PathBuf| fs::read_to_string(file).unwrap().contains(&name);
    files.into_iter().find(of_pod).unwrap()
}

/// Endpoint ids by pod.
fn ids(cluster: &Cluster) -> String {
    cluster
        .node(0)
        .run(&["sh", "-c", "ls /sys/fs/bpf/weir/*/*/maps/ENDPOINTS"])
        .unwrap();
    let dump = ["dump", "endpoints", "-o", "json"];
    let dump: serde_json::Value =
        serde_json::from_str(&cluster.agent(0).proxyctl(&dump).unwrap()).unwrap();
    let mut ids: Vec<String> = dump["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("{} {}", item["id"], item["pod"]))
        .collect();
    ids.sort();
    ids.join("\n")
}

#[test]
fn a_pod_lives_as_long_as_its_interface_whatever_became_of_its_record() {
    let mut cluster = Cluster::start("records", &["a"], &[]).unwrap();
    let names = ["torn", "later", "gone", "whole"];
    let pods = names.map(|name| cluster.pod(0, name).unwrap());
    let servers = pods.each_ref().map(|pod| {
        let at = pod.at(POD_PORT).into_iter();
        at.map(|at| Server::tcp(pod, at, pod.name()).unwrap())
            .collect::<Vec<_>>()
    });
    let [torn, later, gone, whole] = &pods;
    let before = ids(&cluster);
    cluster.agent_mut(0).crash().unwrap();

    fs::write(record(&cluster, torn), "{\"state\":\"re").unwrap();
    let file = record(&cluster, later);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"ready\"", "\"frozen\"")).unwrap();
    fs::remove_file(record(&cluster, gone)).unwrap();

    cluster.agent_mut(0).restart().unwrap();
    assert_eq!(ids(&cluster), before);
    // Once by the restart, once by the first sweep.
    let said = |part: &str| cluster.agent(0).log().matches(part).count() >= 6;
    until("the first sweep", Duration::from_secs(10), || {
        Ok(said("is kept, its interface").then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.logs()));
    assert!(cluster.agent(0).log().contains("/run/weir/att/"));
    assert_eq!(ids(&cluster), before, "{}", cluster.logs());
    for to in &pods[..3] {
        for at in to.at(POD_PORT) {
            assert_eq!(ask_tcp(whole, at).unwrap().name, to.name());
        }
        ask_tcp(to, whole.at(POD_PORT)[0]).unwrap();
    }
    drop(servers);

    let node = cluster.node(0).clone();
    drop(pods);
    let left = node
        .run(&[
            "sh",
            "-c",
            "ls /run/weir/att; ip -o link; cat /run/weir/ipam.json",
        ])
        .unwrap();
    assert!(!left.contains(".json"), "{left}");
    assert!(left.contains("\"leases\":[]"), "{left}");
}
