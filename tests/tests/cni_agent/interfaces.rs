//! A second interface of a pod, behind the programs that let no foreign address out.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use weir_tests::world::{
    Cluster, Plugin, Pod, Server, ask_tcp, cluster::POD_PORT, manifests::pod_uid,
};

/// A verb for a pod's second interface.
fn call(cluster: &Cluster, pod: &Pod, verb: &str, more: &Value) -> Value {
    let uid = pod_uid(pod.node(), pod.name());
    let (name, netns) = (pod.name(), format!("/run/netns/{}", pod.name()));
    let arguments = format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID={uid}");
    let environment = [
        ("CNI_CONTAINERID", uid.as_str()),
        ("CNI_NETNS", &netns),
        ("CNI_IFNAME", "net1"),
        ("CNI_ARGS", &arguments),
    ];
    let mut config = json!({ "cniVersion": "1.1.0", "name": "weir", "type": "weir" });
    config["prevResult"] = more.clone();
    let plugin = Plugin::weir().unwrap();
    plugin
        .call(cluster.node(0), verb, &environment, &config)
        .unwrap()
}

#[test]
fn both_are_reached_and_the_first_outlives_the_second() {
    let cluster = Cluster::start("cni-two", &["a", "b"], &[]).unwrap();
    let pod = cluster.pod(0, "two").unwrap();
    let client = cluster.pod(1, "client").unwrap();
    let neighbour = cluster.pod(0, "neighbour").unwrap();
    let result = call(&cluster, &pod, "ADD", &json!(null));
    let second = result["ips"].as_array().unwrap().iter().map(|ip| {
        let ip = ip["address"].as_str().unwrap().split('/').next().unwrap();
        SocketAddr::new(ip.parse::<IpAddr>().unwrap(), POD_PORT)
    });
    let first = pod.at(POD_PORT);
    let all: Vec<SocketAddr> = first.into_iter().chain(second).collect();
    let _servers: Vec<Server> = all
        .iter()
        .map(|at| Server::tcp(&pod, *at, "two").unwrap())
        .collect();
    for at in &all {
        for from in [&*client, &*neighbour, &**cluster.node(0)] {
            cluster
                .eventually(&format!("{at} to answer"), || ask_tcp(from, *at).ok())
                .unwrap();
        }
    }
    call(&cluster, &pod, "CHECK", &result);
    call(&cluster, &pod, "DEL", &result);
    for at in first {
        ask_tcp(&client, at).unwrap();
        ask_tcp(&neighbour, at).unwrap();
    }
    for at in &all[2..] {
        assert!(ask_tcp(&client, *at).is_err(), "{at} is gone");
    }
}
