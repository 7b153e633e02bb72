//! A plugin that the runtime calls after ours changes what ours has made, as `tuning` does.

use weir_tests::world::{Cluster, Server, ask_tcp, cluster::POD_PORT};

#[test]
fn a_pod_whose_hardware_address_is_changed_is_reached_and_reaches_others() {
    let mut cluster = Cluster::start("cni-tuned", &["a", "b"], &[]).unwrap();
    let pod = cluster.pod(0, "tuned").unwrap();
    let (near, far) = (
        cluster.pod(0, "near").unwrap(),
        cluster.pod(1, "far").unwrap(),
    );
    // After the last ADD, which would make the agent tell of all pods.
    pod.run(&["ip", "link", "set", "eth0", "address", "02:00:00:00:00:99"])
        .unwrap();
    pod.run(&["ip", "link", "set", "eth0", "mtu", "1300"])
        .unwrap();
    let servers: Vec<Server> = [&pod, &near, &far]
        .iter()
        .flat_map(|pod| {
            pod.at(POD_PORT)
                .map(|at| Server::tcp(pod, at, pod.name()).unwrap())
        })
        .collect();
    let node = cluster.node(0).clone();
    let works = |cluster: &Cluster| {
        for at in pod.at(POD_PORT) {
            for from in [&*near, &*far, &*node] {
                cluster
                    .eventually(&format!("{at} to answer"), || ask_tcp(from, at).ok())
                    .unwrap();
            }
        }
        for at in near.at(POD_PORT).into_iter().chain(far.at(POD_PORT)) {
            cluster
                .eventually(&format!("{at} to answer the pod"), || {
                    ask_tcp(&pod, at).ok()
                })
                .unwrap();
        }
    };
    works(&cluster);
    cluster.agent_mut(0).crash().unwrap();
    cluster.agent_mut(0).restart().unwrap();
    works(&cluster);
    let text = cluster
        .agent(0)
        .proxyctl(&["dump", "endpoints", "-o", "json"])
        .unwrap();
    assert!(text.contains("02:00:00:00:00:99"), "{text}");
    let permanent = node
        .run(&["ip", "neigh", "show", "nud", "permanent"])
        .unwrap();
    assert!(permanent.contains("02:00:00:00:00:99"), "{permanent}");
    drop(servers);
}
