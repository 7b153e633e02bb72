//! `proxyctl cni list` and `cni status`: what the plugin has made and whether it can serve, by its own files.

use std::{collections::BTreeMap, fs, net::IpAddr};

use cni_plugin::{clock, paths::Paths};
use serde_json::{Value, json};
use weir_tests::world::{Cluster, Pod};

/// What `cni list` says, by pod; it must end with this code.
fn listed(cluster: &Cluster, code: i32) -> BTreeMap<String, Value> {
    let words = ["cni", "list", "-o", "json"];
    let (ended, text) = cluster.agent(0).proxyctl_verdict(&words).unwrap();
    assert_eq!(ended, code, "{text}");
    // What is said of damaged records comes after the document.
    let mut documents = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let list = documents.next().unwrap().unwrap();
    assert_eq!(list["kind"], "CniAttachmentList");
    let items = list["items"].as_array().unwrap().iter();
    let pod = |item: &Value| item["pod"].as_str().unwrap().to_owned();
    items.map(|item| (pod(item), item.clone())).collect()
}

/// Index of a link of the node, by another program than ours.
fn index(cluster: &Cluster, link: &str) -> Value {
    let words = ["ip", "-json", "link", "show", "dev", link];
    let text = cluster.node(0).run(&words).unwrap();
    let links: Value = serde_json::from_str(&text).unwrap();
    links[0]["ifindex"].clone()
}

fn is_as_added(cluster: &Cluster, item: &Value, pod: &Pod) {
    let addresses: Vec<IpAddr> = serde_json::from_value(item["addresses"].clone()).unwrap();
    assert_eq!(addresses, pod.addresses(), "{item}");
    assert_eq!(item["interface"], "eth0");
    assert_eq!(item["state"], "ready");
    assert_eq!(item["netns"], format!("/run/netns/{}", pod.name()));
    assert_eq!(item["uid"], item["container"], "as the world tells both");
    let host = item["hostInterface"].as_str().unwrap();
    assert_eq!(item["hostIndex"], index(cluster, host));
}

#[test]
fn what_is_added_is_listed_until_it_is_deleted() {
    let mut cluster = Cluster::start("cni-list", &["a"], &[]).unwrap();
    assert_eq!(listed(&cluster, 0).len(), 0);
    let plain = cluster.pod(0, "plain").unwrap();
    let ports = json!([{ "hostPort": 8081, "containerPort": 80, "protocol": "tcp" }]);
    let exposed = cluster.pod_with_ports(0, "exposed", &ports).unwrap();
    let told = json!({ "ingressRate": 10_000_000, "ingressBurst": 80_000 });
    let limited = cluster
        .annotated_pod(0, "limited", &json!({}), &told)
        .unwrap();
    for running in [true, false] {
        if !running {
            cluster.agent_mut(0).crash().unwrap();
        }
        let items = listed(&cluster, 0);
        assert_eq!(items.len(), 3, "{items:?}");
        for pod in [&plain, &exposed, &limited] {
            let item = &items[&format!("default/{}", pod.name())];
            is_as_added(&cluster, item, pod);
        }
        assert_eq!(items["default/exposed"]["ports"], json!(["8081->80/tcp"]));
        assert_eq!(items["default/limited"]["ingressLimit"], 10_000_000);
        assert_eq!(items["default/plain"].get("ingressLimit"), None);
    }
    cluster.agent_mut(0).restart().unwrap();
    let agent = cluster.agent(0);
    let of_pod = ["cni", "list", "--pod", "default/limited", "-o", "wide"];
    let wide = agent.proxyctl(&of_pod).unwrap();
    let line = wide.lines().nth(1).unwrap();
    assert_eq!(wide.lines().count(), 2, "{wide}");
    assert!(
        line.contains("/run/netns/limited") && line.contains("10M"),
        "{wide}"
    );
    drop((plain, exposed, limited));
    assert_eq!(listed(&cluster, 0).len(), 0);
}

#[test]
fn a_damaged_record_is_named_and_the_others_are_listed() {
    let cluster = Cluster::start("cni-torn", &["a"], &[]).unwrap();
    let (whole, torn) = (
        cluster.pod(0, "whole").unwrap(),
        cluster.pod(0, "torn").unwrap(),
    );
    let container = listed(&cluster, 0)["default/torn"]["container"].clone();
    let file = format!("/run/weir/att/{}:eth0.json", container.as_str().unwrap());
    let path = cluster.node(0).file(&file);
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() / 2]).unwrap();

    let items = listed(&cluster, 1);
    assert_eq!(items.len(), 1, "{items:?}");
    is_as_added(&cluster, &items["default/whole"], &whole);
    let (_, told) = cluster.agent(0).proxyctl_verdict(&["cni", "list"]).unwrap();
    assert!(told.contains(&format!("error: read {file}: EOF")), "{told}");
    assert!(told.contains("\nhint: "), "{told}");
    // A warning: the pod goes on.
    let status = cluster.agent(0).proxyctl(&["cni", "status"]).unwrap();
    assert!(
        status.contains("WARNING  attachments") && status.contains(&file),
        "{status}"
    );
    let strict = ["cni", "status", "--fail-on-warning"];
    assert_eq!(cluster.agent(0).proxyctl_verdict(&strict).unwrap().0, 1);

    drop((whole, torn));
    assert_eq!(listed(&cluster, 0).len(), 0, "DEL needs no record");
}

/// The line of a check, which must have this level.
fn line(cluster: &Cluster, more: &[&str], level: &str, check: &str) -> String {
    let words = [&["cni", "status"], more].concat();
    let (code, text) = cluster.agent(0).proxyctl_verdict(&words).unwrap();
    assert_eq!(code, i32::from(level == "ERROR"), "{text}");
    let begin = format!("{level:<8} {check:<16} ");
    let mut lines = text.lines().map(str::trim_start);
    let line = lines.find_map(|line| line.strip_prefix(&begin));
    line.unwrap_or_else(|| panic!("no {begin}in {text}"))
        .to_owned()
}

#[test]
fn the_status_says_whether_the_plugin_can_serve() {
    let mut cluster = Cluster::start("cni-status", &["a"], &[]).unwrap();
    let _pods = ["one", "two"].map(|name| cluster.pod(0, name).unwrap());
    let fine = |check| line(&cluster, &[], "OK", check);
    assert_eq!(fine("version"), format!("v{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(fine("attachments"), "2 ready, 0 being made");
    assert!(fine("node.json").starts_with("of node a by process "));
    let used = fine("addresses");
    assert!(
        used.starts_with("IPv4 10.244.1.0/24: 2 of 25") && used.contains("; IPv6 "),
        "{used}"
    );
    fine("heartbeat");

    let words = ["cni", "status", "-o", "json"];
    let json: Value = serde_json::from_str(&cluster.agent(0).proxyctl(&words).unwrap()).unwrap();
    assert_eq!(
        (&json["kind"], &json["errors"]),
        (&json!("CniStatus"), &json!(0))
    );
    assert_eq!(json["plugin"], "/run/cni/bin/weir");
    for pool in json["pools"].as_array().unwrap() {
        assert_eq!(pool["used"], 2, "{pool}");
        let free = pool["all"].as_u64().unwrap() - 2;
        assert_eq!(pool["free"], free, "{pool}");
    }

    let rival = cluster.node(0).file("/run/cni/net.d/00-other.conflist");
    fs::write(&rival, "{}").unwrap();
    assert!(line(&cluster, &[], "ERROR", "first").contains("00-other.conflist"));
    fs::remove_file(rival).unwrap();

    // With the agent down it is told where to look.
    cluster.agent_mut(0).crash().unwrap();
    let config = cluster.node(0).file("/run/agent.yaml");
    let text = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n\
                cni: { install: true, binDir: /run/cni/bin, confDir: /run/cni/net.d }\n";
    fs::write(config, text).unwrap();
    let told = ["--config", "/run/agent.yaml"];
    let paths = Paths::new(cluster.node(0).file("/run/weir"));
    let silent = clock::now().saturating_sub(100).to_string();
    fs::write(paths.heartbeat(), silent).unwrap();
    assert!(line(&cluster, &told, "ERROR", "heartbeat").contains("silent for 10"));
    let plugin = cluster.node(0).file("/run/cni/bin/weir");
    fs::write(&plugin, "no program").unwrap();
    assert!(line(&cluster, &told, "ERROR", "version").contains("run /run/cni/bin/weir: "));
    fs::remove_file(plugin).unwrap();
    assert!(line(&cluster, &told, "ERROR", "installed").contains("is not there"));
    let node = fs::read(paths.node()).unwrap();
    fs::remove_file(paths.node()).unwrap();
    assert!(line(&cluster, &told, "ERROR", "node.json").contains("/run/weir/node.json"));
    fs::write(paths.node(), node).unwrap();
    cluster.agent_mut(0).restart().unwrap();
}
