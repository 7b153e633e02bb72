//! Pods whose records the agent cannot read, or that have none: they go on, over a restart and a sweep.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use weir_tests::world::{Cluster, Pod, Server, ask_tcp, cluster::POD_PORT, http_get, until};

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
    let dump: Value = serde_json::from_str(&cluster.agent(0).proxyctl(&dump).unwrap()).unwrap();
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
    assert_eq!(
        cluster
            .agent(0)
            .log()
            .matches("pod::restore: read ")
            .count(),
        3,
        "{}",
        cluster.logs()
    );
    assert!(cluster.agent(0).log().contains("/run/weir/att/"));
    // The records are made again of what is known.
    until("records", Duration::from_secs(10), || {
        let listed = cluster.agent(0).proxyctl_verdict(&["cni", "list"])?;
        Ok((listed.0 == 0).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.logs()));
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

/// Lets the pod `guarded` be reached by `client` alone.
fn policy() -> Value {
    let app = |name: &str| json!({ "matchLabels": { "app": name } });
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": "guard", "namespace": "default" },
        "spec": {
            "podSelector": app("guarded"),
            "ingress": [{ "from": [{ "podSelector": app("client") }] }],
        },
    })
}

/// What a shell of the node prints.
fn shell(cluster: &Cluster, script: &str) -> String {
    cluster.node(0).run(&["sh", "-c", script]).unwrap()
}

/// Waits until a record names each of these pods, and nothing is wrong with any.
fn await_records(cluster: &Cluster, pods: &[&Pod]) {
    until("records", Duration::from_secs(10), || {
        let (code, listed) = cluster
            .agent(0)
            .proxyctl_verdict(&["cni", "list", "-o", "json"])?;
        let listed: Value = serde_json::from_str(&listed)?;
        let names = listed["items"].as_array().into_iter().flatten();
        let names: BTreeSet<String> = names.map(|row| row["pod"].to_string()).collect();
        let all = pods.iter().map(|pod| format!("\"default/{}\"", pod.name()));
        Ok((code == 0 && names == all.collect()).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.logs()));
}

#[test]
fn without_any_record_pods_go_on_under_their_policy_and_keep_their_addresses() {
    let mut cluster = Cluster::start("lost", &["a"], &[]).unwrap();
    let manifests = cluster.manifests();
    manifests.apply_objects("policy.yaml", &[policy()]).unwrap();
    let [guarded, client, stranger] =
        ["guarded", "client", "stranger"].map(|name| cluster.pod(0, name).unwrap());
    let servers = guarded.at(POD_PORT).into_iter();
    let served: Vec<Server> = servers
        .map(|at| Server::tcp(&guarded, at, "guarded").unwrap())
        .collect();
    let as_before = |when: &str| {
        for at in guarded.at(POD_PORT) {
            assert_eq!(ask_tcp(&client, at).unwrap().name, "guarded", "{when}");
            assert!(ask_tcp(&stranger, at).is_err(), "{when}");
        }
    };
    as_before("to begin with");
    let before = ids(&cluster);
    cluster.agent_mut(0).crash().unwrap();
    shell(&cluster, "rm -rf /run/weir/*");
    let said = |words: &[&str]| cluster.agent(0).proxyctl_verdict(words).unwrap();
    let (code, _) = said(&["cni", "list"]);
    assert_ne!(code, 0, "three interfaces have no record");
    let (_, found) = said(&["check", "--set", "cni.install=true"]);
    assert!(found.contains("no record of default/"), "{found}");

    cluster.agent_mut(0).restart().unwrap();
    assert_eq!(ids(&cluster), before, "{}", cluster.logs());
    as_before("after the start");
    await_records(&cluster, &[&guarded, &client, &stranger]);
    let (_, told) = cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
    assert!(!told.contains("ERROR"), "{told}");
    assert!(
        !told.contains("is lost"),
        "each is known by the API: {told}"
    );
    // The UIDs are known again.
    let records = shell(&cluster, "cat /run/weir/att/*");
    assert_eq!(records.matches("\"uid\":\"a-").count(), 3, "{records}");

    // Even if no route leads to them any more.
    shell(
        &cluster,
        "ip route flush proto 88; ip -6 route flush proto 88",
    );
    let all = [&guarded, &client, &stranger];
    let taken: BTreeSet<_> = all.iter().flat_map(|pod| pod.addresses()).collect();
    let new = cluster.pod(0, "new").unwrap();
    assert!(new.addresses().iter().all(|ip| !taken.contains(ip)));

    // A second start finds records, and the runtime's DELs by whatever they stand for.
    cluster.agent_mut(0).crash().unwrap();
    cluster.agent_mut(0).restart().unwrap();
    as_before("after another start");
    let node = cluster.node(0).clone();
    drop((served, guarded, client, stranger, new));
    let left = "ls /run/weir/att; ip -o link; cat /run/weir/ipam.json";
    let left = node.run(&["sh", "-c", left]).unwrap();
    assert!(
        !left.contains(".json") && !left.contains(": weir0"),
        "{left}"
    );
    assert!(left.contains("\"leases\":[]"), "{left}");
}

#[test]
fn what_the_api_server_does_not_know_of_a_pod_without_a_record_is_told() {
    let mut cluster = Cluster::start("nobodys", &["a"], &[]).unwrap();
    let lost = cluster.pod(0, "lost").unwrap();
    cluster.agent_mut(0).crash().unwrap();
    cluster.manifests().remove("pod-lost.yaml").unwrap();
    shell(&cluster, "rm -rf /run/weir/*");
    cluster.agent_mut(0).restart().unwrap();
    let told = |part: &str| {
        until(part, Duration::from_secs(10), || {
            let (_, told) = cluster.agent(0).proxyctl_verdict(&["status"])?;
            Ok(told.contains(part).then_some(told))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.logs()))
    };
    let said = told("WARNING CNI: the record of pod default/lost is lost");
    assert!(
        said.contains("the API server knows no pod with its addresses"),
        "{said}"
    );
    // One of this name that has other addresses.
    let other = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "lost", "namespace": "default", "uid": "another" },
        "spec": { "nodeName": "b", "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": "Running", "podIP": "10.9.9.9", "podIPs": [{ "ip": "10.9.9.9" }] },
    });
    cluster
        .manifests()
        .apply_objects("pod-lost.yaml", &[other])
        .unwrap();
    told("the pod of this name has other addresses");
    drop(lost);
}

/// As in a container, whose folder is a mount of the node's.
#[test]
fn a_folder_that_was_removed_below_its_mount_ends_the_container() {
    let mut cluster = Cluster::start("removed", &["a"], &[]).unwrap();
    cluster.agent_mut(0).crash().unwrap();
    shell(
        &cluster,
        "mkdir /run/real; cp -a /run/weir/. /run/real; mount --bind /run/real /run/weir",
    );
    cluster.agent_mut(0).restart().unwrap();
    let pod = cluster.pod(0, "pod").unwrap();
    let before = ids(&cluster);
    shell(&cluster, "rm -r /run/real");
    let answers =
        |path: &str| http_get(cluster.node(0), ([127, 0, 0, 1], 10256).into(), path).unwrap();
    let said = until("/livez to fail", Duration::from_secs(10), || {
        let (code, said) = answers("/livez");
        Ok((code == 503).then_some(said))
    });
    let said = said.unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.logs()));
    assert!(
        said.contains("runDir /run/weir was removed while it is mounted here"),
        "{said}"
    );
    assert_eq!(answers("/healthz").0, 200, "traffic goes on");
    let (_, found) = cluster
        .agent(0)
        .proxyctl_verdict(&["check", "--set", "cni.install=true"])
        .unwrap();
    assert!(
        found.contains("runDir /run/weir was removed from the node"),
        "{found}"
    );
    assert!(
        !found.contains("for health"),
        "its port is the agent's own: {found}"
    );
    // Another container has another mount.
    cluster.agent_mut(0).crash().unwrap();
    shell(&cluster, "umount /run/weir; rm -rf /run/weir");
    cluster.agent_mut(0).restart().unwrap();
    assert_eq!(ids(&cluster), before, "{}", cluster.logs());
    await_records(&cluster, &[&pod]);
    drop(pod);
}
