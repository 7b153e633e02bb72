//! A node with an agent, and one whose agent has died.

use std::{collections::BTreeSet, fs};

use cni_plugin::{ipam::State, node_file::boot_id, paths::Paths, rpc::Key};
use ipnetwork::Ipv4Network;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use weir_tests::{
    datapath::reader,
    world::{Cluster, Node},
};

use crate::stage::{Complaint, complaints, shell};
use proxy_agent::datapath::Table as _;

/// What is complained of, by the agent's own configuration.
fn found(cluster: &Cluster) -> Vec<Complaint> {
    complaints(cluster.node(0), &[], &["--skip=programs".to_owned()])
}

/// Programs that are missing are named, with the links that lack them.
#[test]
fn programs_that_are_missing_are_named() {
    let mut cluster = Cluster::start("check-named", &["a"], &[]).unwrap();
    cluster.agent_mut(0).crash().unwrap();
    let plant = "cd /sys/fs/bpf/weir/default/v*/links; rm connect4 to_net-* from_host-*";
    cluster.node(0).run(&["sh", "-ec", plant]).unwrap();
    let found = found_without(&cluster, &["programs-detached"]);
    let texts: BTreeSet<&str> = found.iter().map(|c| c.text.as_str()).collect();
    let root = cluster.node(0).cgroup_root();
    let host = format!(
        "the cgroup {} has no connect4: processes of this node do not reach Services",
        root.path().display()
    );
    let expected = [
        "link eth0 has no program to_net",
        "link weir_host has no program from_host",
        &host,
    ];
    assert_eq!(texts, expected.into());
    cluster.agent_mut(0).restart().unwrap();
    well(&cluster);
}

/// Whoever runs it on the host, beside an agent in a container, has other things at the paths that the agent is told.
#[test]
fn beside_a_container_paths_are_the_agents() {
    let cluster = Cluster::start("check-beside", &["a"], &[]).unwrap();
    cluster.pod(0, "web").unwrap();
    well(&cluster);
    let hide = "for place in /run/cni /sys/fs/bpf /sys/fs/cgroup /tmp; do mount -t tmpfs tmpfs $place; done; exec \"$@\"";
    let by = ["unshare", "--mount", "sh", "-ec", hide, "sh"].map(str::to_owned);
    let found = complaints(cluster.node(0), &by, &["--skip=programs".to_owned()]);
    assert_eq!(found, []);
}

/// What it was told stands in its process then: nothing else is complained of that is not so.
#[test]
fn beside_a_container_a_silent_agent_is_all_that_is_wrong() {
    let cluster = Cluster::start("check-mute", &["a"], &[]).unwrap();
    cluster.pod(0, "web").unwrap();
    well(&cluster);
    let hide = "for place in /run/cni /sys/fs/bpf /sys/fs/cgroup /tmp; do mount -t tmpfs tmpfs $place; done; exec \"$@\"";
    let by = ["unshare", "--mount", "sh", "-ec", hide, "sh"].map(str::to_owned);
    let node = cluster.node(0);
    // As it is, and where somebody has taken its socket away.
    for take in ["true", "rm /run/weir/agent.sock"] {
        let agent = Pid::from_raw(cluster.agent(0).id().unwrap().cast_signed());
        kill(agent, Signal::SIGSTOP).unwrap();
        node.run(&["sh", "-ec", take]).unwrap();
        let found = complaints(node, &by, &["--skip=programs".to_owned()]);
        let faults: Vec<&str> = found.iter().map(|c| c.fault.as_str()).collect();
        assert_eq!(faults, ["agent-silent"], "{take}: {found:?}");
        kill(agent, Signal::SIGCONT).unwrap();
    }
}

/// By its rows Host and Ways, beside what is named without it.
#[test]
fn the_agent_tells_who_takes_services_and_pods() {
    let cluster = Cluster::start("check-taken", &["a", "b"], &[]).unwrap();
    well(&cluster);
    let [pods, _] = cluster.node(1).pod_ranges();
    let whole: Ipv4Network = pods.parse().unwrap();
    let part = format!("{}/{}", whole.network(), whole.prefix() + 1);
    let run = |script: &str| cluster.node(0).run(&["sh", "-ec", script]).unwrap();
    run(&format!(
        "ip rule add priority 100 to 10.96.0.0/16 lookup 100; ip rule add priority 101 to {pods} lookup 100; ip route add {part} dev eth0"
    ));
    let pod = whole.nth(9).unwrap();
    // What has its address here is told by the row Ways alone, too.
    run(&format!("ip address add {pod}/32 dev eth0"));
    let ways = || {
        let (_, status) = cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
        let words = format!("eth0 has {pod}, which is of the pods of node b");
        status.contains(&words).then_some(())
    };
    cluster.eventually("the address to be told", ways).unwrap();
    let expected = [
        "address-of-pods",
        "route-elsewhere",
        "rule-elsewhere",
        "status-host",
        "status-ways",
    ];
    cluster
        .eventually("both to be told", || {
            let found = found(&cluster);
            let faults: BTreeSet<&str> = found.iter().map(|c| c.fault.as_str()).collect();
            (faults == expected.into()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{:?}: {error:#}", found(&cluster)));
    run(&format!(
        "ip rule delete priority 100; ip rule delete priority 101; ip route delete {part}; ip address delete {pod}/32 dev eth0"
    ));
    well(&cluster);
}

/// A container keeps the file system that it was given, and the host has another one by now.
#[test]
fn a_bpf_file_system_that_is_mounted_anew_on_the_host() {
    let cluster = Cluster::start("check-bpffs", &["a"], &[]).unwrap();
    well(&cluster);
    let anew = "umount /sys/fs/bpf; mount -t bpf bpf /sys/fs/bpf; exec \"$@\"";
    let by = ["unshare", "--mount", "sh", "-ec", anew, "sh"].map(str::to_owned);
    let found = complaints(cluster.node(0), &by, &["--skip=programs".to_owned()]);
    let faults: Vec<&str> = found.iter().map(|c| c.fault.as_str()).collect();
    assert_eq!(faults, ["pins-elsewhere"], "{found:?}");
    well(&cluster);
}

fn well(cluster: &Cluster) {
    // What has just been set right is told by the status for a while.
    cluster
        .eventually("no complaint", || found(cluster).is_empty().then_some(()))
        .unwrap_or_else(|error| panic!("{:?}: {error:#}", found(cluster)));
}

/// What is complained of while the agent is dead: it, and these.
fn found_without(cluster: &Cluster, faults: &[&str]) -> Vec<Complaint> {
    let found = complaints(cluster.node(0), &[], &told(cluster.node(0), cluster));
    let names: BTreeSet<&str> = found.iter().map(|c| c.fault.as_str()).collect();
    let mut expected = BTreeSet::from(["agent-silent"]);
    expected.extend(faults);
    assert_eq!(names, expected, "{found:?}");
    let silent = |complaint: &Complaint| complaint.fault == "agent-silent";
    found.into_iter().filter(|it| !silent(it)).collect()
}

/// What the agent was told.
fn told(node: &Node, cluster: &Cluster) -> Vec<String> {
    let folder = cluster.manifests().path().display();
    let cgroup = node.cgroup_root().path().display();
    [
        "--skip=programs".to_owned(),
        "--set=nodeName=a".to_owned(),
        format!("--set=manifests={folder}"),
        format!("--set=cgroupRoot={cgroup}"),
        "--set=cni.install=true".to_owned(),
        "--set=cni.binDir=/run/cni/bin".to_owned(),
        "--set=cni.confDir=/run/cni/net.d".to_owned(),
    ]
    .into()
}

#[test]
fn nothing_planted_no_complaint() {
    let cluster = Cluster::start("check-agent", &["a", "b"], &[]).unwrap();
    let words = complaints(cluster.node(0), &[], &[]);
    assert_eq!(words, [], "{words:?}");
    let pod = cluster.pod(0, "web").unwrap();
    cluster.service("web", 10, &[&pod], &json!({})).unwrap();
    well(&cluster);
}

#[test]
fn the_agent_does_not_answer() {
    let mut cluster = Cluster::start("check-dead", &["a"], &[]).unwrap();
    cluster.agent_mut(0).crash().unwrap();
    let found = complaints(cluster.node(0), &[], &told(cluster.node(0), &cluster));
    let [silent] = <[Complaint; 1]>::try_from(found).unwrap();
    assert_eq!(silent.fault, "agent-silent");
    for (plant, fault) in [
        ("echo 0 > /proc/sys/net/ipv4/ip_forward", "forwarding-off"),
        (
            "echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter",
            "strict-rp-filter",
        ),
    ] {
        cluster.node(0).run(&["sh", "-ec", plant]).unwrap();
        for complaint in found_without(&cluster, &[fault]) {
            let remedy = complaint.remedy.unwrap();
            shell(cluster.node(0), remedy["command"].as_str().unwrap());
        }
        let found = complaints(cluster.node(0), &[], &told(cluster.node(0), &cluster));
        assert_eq!(found.len(), 1, "{fault}: {found:?}");
    }
    cluster.agent_mut(0).restart().unwrap();
    well(&cluster);
}

#[test]
fn what_is_missing_comes_back_with_the_agent() {
    let mut cluster = Cluster::start("check-gone", &["a"], &[]).unwrap();
    let plants: [(&str, &[&str]); 6] = [
        ("rm /run/cni/net.d/05-weir.conflist", &["plugin-missing"]),
        ("rm /run/cni/bin/weir", &["plugin-missing"]),
        ("echo >> /run/cni/bin/weir", &["plugin-differs"]),
        ("echo other > /run/cni/bin/weir", &["plugin-broken"]),
        ("rm /run/weir/node.json", &["node-file"]),
        (
            "rm /sys/fs/bpf/weir/default/v*/links/connect4",
            &["programs-detached"],
        ),
    ];
    for (plant, faults) in plants {
        cluster.agent_mut(0).crash().unwrap();
        cluster.node(0).run(&["sh", "-ec", plant]).unwrap();
        found_without(&cluster, faults);
        cluster.agent_mut(0).restart().unwrap();
        well(&cluster);
    }
}

#[test]
fn pods_that_the_plugin_cannot_serve() {
    let cluster = Cluster::start("check-wiring", &["a"], &[]).unwrap();
    cluster.pod(0, "web").unwrap();
    well(&cluster);
    let paths = Paths::new(cluster.node(0).file("/run/weir"));

    let record = paths.attachments().join("x:eth0.json");
    fs::write(&record, "{").unwrap();
    let faults: Vec<_> = found(&cluster).into_iter().map(|c| c.fault).collect();
    assert_eq!(faults, ["record-unread"]);
    fs::remove_file(record).unwrap();
    well(&cluster);

    let boot = boot_id().unwrap();
    let before = State::read(&paths.ipam(), &boot).unwrap().unwrap();
    let mut state = before.clone();
    let [range, _] = cluster.node(0).pod_ranges();
    let range: Ipv4Network = range.parse().unwrap();
    for ip in &range {
        let key = Key {
            container_id: ip.to_string(),
            ifname: "eth0".to_owned(),
        };
        state.give(key, vec![ip.into()]);
    }
    state.write(&paths.ipam()).unwrap();
    let found = found(&cluster);
    assert_eq!(found[0].fault, "no-address-left", "{found:?}");
    before.write(&paths.ipam()).unwrap();
}

#[test]
fn no_maps() {
    let mut cluster = Cluster::start("check-maps", &["a"], &[]).unwrap();
    cluster.agent_mut(0).crash().unwrap();
    let node = cluster.node(0);
    node.run(&["sh", "-ec", "rm -r /sys/fs/bpf/weir"]).unwrap();
    found_without(&cluster, &["no-maps"]);
    cluster.agent_mut(0).restart().unwrap();
    well(&cluster);
}

#[test]
fn maps_that_somebody_else_has_changed() {
    let flags = ["--set", "sync.fullPeriod=20s"];
    let cluster = Cluster::start("check-drift", &["a"], &flags).unwrap();
    cluster.service("web", 10, &[], &json!({})).unwrap();
    let reader = reader(cluster.node(0)).unwrap();
    let mut frontends = reader.maps().frontends4.clone();
    let key = cluster.eventually("the Service", || {
        let entries = frontends.entries().ok()?;
        entries.first().map(|(key, _)| *key)
    });
    well(&cluster);
    frontends.remove(&key.unwrap()).unwrap();
    let found = found(&cluster);
    assert_eq!(found[0].fault, "maps-differ", "{found:?}");
}

#[test]
fn probes_that_nobody_answers() {
    let cluster = Cluster::start("check-probes", &["a"], &[]).unwrap();
    let node = cluster.node(0);
    let rules = "table inet theirs {
chain input {
type filter hook input priority 0
tcp dport 10256 drop
}
}
";
    node.run_with_input(&["nft", "-f", "-"], rules).unwrap();
    let faults: BTreeSet<String> = found(&cluster).into_iter().map(|c| c.fault).collect();
    assert_eq!(faults, ["health-silent".to_owned()].into());
    node.run(&["nft", "delete", "table", "inet", "theirs"])
        .unwrap();
    well(&cluster);
}

#[test]
fn a_part_of_the_status_that_is_not_well() {
    let cluster = Cluster::start("check-status", &["a"], &[]).unwrap();
    let broken = cluster.manifests().path().join("broken.yaml");
    fs::write(&broken, "kind: Service\n\tmetadata").unwrap();
    let api = cluster.eventually("the complaint", || {
        let found = found(&cluster);
        found.into_iter().find(|c| c.fault == "status-api")
    });
    assert!(api.unwrap().text.contains("broken.yaml"));
    fs::remove_file(broken).unwrap();
    well(&cluster);
}
