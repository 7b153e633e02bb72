//! What an agent looks after for the plugin, and what stays of both when Weir goes.

use std::{
    fs,
    time::{Duration, Instant},
};

use cni_plugin::{ipam::lock::lock, paths::Paths};
use serde_json::json;
use weir_tests::world::{
    Cluster, Plugin, Server, ask_tcp, cluster::POD_PORT, manifests::pod_uid, program, until,
};

#[test]
fn a_plugin_that_is_wiped_comes_back() {
    let cluster = Cluster::start("cni-wiped", &["a"], &[]).unwrap();
    let bin = cluster.node(0).file("/run/cni/bin");
    let plugin = fs::read(program("cni-plugin").unwrap()).unwrap();
    let is_there = |name: &str| fs::read(bin.join(name)).is_ok_and(|there| there == plugin);
    let comes_back = || {
        until("the plugin to be back", Duration::from_secs(30), || {
            Ok((is_there("weir") && is_there("loopback")).then_some(()))
        })
        .unwrap();
    };
    comes_back();
    fs::remove_dir_all(&bin).unwrap();
    comes_back();
    fs::write(bin.join("weir"), "#!/bin/sh\nexit 0\n").unwrap();
    comes_back();
}

#[test]
fn the_plugins_log_is_shown_without_an_agent_too() {
    let mut cluster = Cluster::start("cni-log", &["a"], &[]).unwrap();
    let node = cluster.node(0).clone();
    let config = json!({ "cniVersion": "9.9.9", "name": "weir", "type": "weir" });
    let environment = [
        ("CNI_CONTAINERID", "abc"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=gone"),
    ];
    let plugin = Plugin::weir().unwrap();
    plugin.call(&node, "DEL", &environment, &config).unwrap();
    for running in [true, false] {
        if !running {
            cluster.agent_mut(0).terminate().unwrap();
        }
        let agent = cluster.agent(0);
        let text = agent.proxyctl(&["cni", "log"]).unwrap();
        assert!(text.contains("DEL") && text.contains("ns/gone"), "{text}");
        assert!(text.contains("incompatible CNI versions"), "{text}");
        let of_pod = ["cni", "log", "--pod", "ns/other", "-o", "json"];
        let none: serde_json::Value =
            serde_json::from_str(&agent.proxyctl(&of_pod).unwrap()).unwrap();
        assert_eq!(none["items"], json!([]), "{none}");
        let table = agent.proxyctl(&of_pod[..4]).unwrap();
        assert!(table.contains("nothing is kept of pod ns/other"), "{table}");
    }
    cluster.agent_mut(0).restart().unwrap();
}

#[test]
fn a_stuck_lock_keeps_no_agent_from_starting() {
    let mut cluster = Cluster::start("cni-lock", &["a"], &[]).unwrap();
    let (pod, client) = (
        cluster.pod(0, "pod").unwrap(),
        cluster.pod(0, "client").unwrap(),
    );
    let at = pod.at(POD_PORT);
    let _servers = at.map(|at| Server::tcp(&pod, at, "pod").unwrap());
    let paths = Paths::new(cluster.node(0).file("/run/weir"));
    let held = lock(&paths.lock(), Instant::now() + Duration::from_secs(5)).unwrap();
    cluster.agent_mut(0).crash().unwrap();
    cluster.agent_mut(0).restart().unwrap();
    for at in at {
        cluster
            .eventually("the pod to be served", || ask_tcp(&client, at).ok())
            .unwrap();
    }
    let log = cluster.agent(0).log();
    assert!(
        log.contains("attachments are read without the lock"),
        "{log}"
    );
    assert!(log.contains("held by process"), "{log}");
    drop(held);
}

#[test]
fn a_configuration_in_front_of_ours_is_told_of() {
    let cluster = Cluster::start("cni-told", &["a"], &[]).unwrap();
    let node = cluster.node(0);
    let says = |what: &str| {
        until(what, Duration::from_secs(30), || {
            Ok(cluster.agent(0).log().contains(what).then_some(()))
        })
        .unwrap_or_else(|e| panic!("{e:#}\n{}", cluster.logs()));
    };
    let rival = node.file("/run/cni/net.d/00-other.conflist");
    fs::write(&rival, "{}").unwrap();
    says("another plugin's configuration comes before ours");
    fs::remove_file(rival).unwrap();
    says("our network configuration comes first again");
}

#[test]
fn a_pod_whose_interface_is_gone_is_named_wherever_one_looks() {
    let cluster = Cluster::start("cni-gone", &["a"], &[]).unwrap();
    let (cut, whole) = (
        cluster.pod(0, "cut").unwrap(),
        cluster.pod(0, "whole").unwrap(),
    );
    let says = |words: &[&str]| cluster.agent(0).proxyctl_verdict(words).unwrap();
    let host = cni_plugin::wiring::name::host_ifname(&cni_plugin::rpc::Key {
        container_id: pod_uid(cut.node(), cut.name()),
        ifname: "eth0".into(),
    });
    cluster
        .node(0)
        .run(&["ip", "link", "delete", &host])
        .unwrap();
    let (code, text) = says(&["cni", "list"]);
    assert_eq!(code, 1, "{text}");
    let line = |pod: &str| {
        let mut lines = text.lines();
        lines.find(|line| line.starts_with(pod)).unwrap().to_owned()
    };
    assert!(line("default/cut").contains(" gone "), "{text}");
    assert!(line("default/whole").contains(" ready "), "{text}");
    let named = format!("the interfaces of these pods are gone: default/cut ({host})");
    assert!(text.contains(&format!("error: {named}")), "{text}");
    assert!(
        text.contains("\nhint: they run without a network: delete them"),
        "{text}"
    );
    let (code, text) = says(&["cni", "status"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&named), "{text}");
    let row = format!(
        "ERROR CNI: pod default/cut has no network: its interface {host} is gone: delete the pod, which makes it anew"
    );
    cluster
        .eventually("the row to name the pod", || {
            let (_, text) = says(&["status"]);
            text.contains(&row).then_some(())
        })
        .unwrap();
    for words in [
        ["policy", "why", "default/cut", "default/whole", "80"],
        ["policy", "why", "default/whole", "default/cut", "80"],
    ] {
        let (_, text) = says(&words);
        assert!(
            text.contains("warning: pod default/cut has no network: its interface"),
            "{text}"
        );
    }
    let at = whole.at(POD_PORT)[0].to_string();
    let (_, text) = says(&["service", "trace", "default/cut", &at]);
    assert!(
        text.contains("warning: pod default/cut has no network"),
        "{text}"
    );
}
