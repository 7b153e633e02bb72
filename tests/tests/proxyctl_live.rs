//! `proxyctl` on a node with an agent, pods, a Service and a policy: every verb against the live maps, with
//! the agent and without.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{process::Output, time::Duration};

use anyhow::{Context as _, Result};
use proxy_agent::datapath::{Table as _, Words as _};
use proxy_common::{address::octets4, policy::words::ROW_ALLOW_ALL};
use serde_json::{Value, json};
use weir_tests::{
    datapath::reader,
    served::only_client,
    world::{Cluster, Pod, Server, Talk, ask_tcp, cluster::POD_PORT, program, until},
};

#[path = "proxyctl_live/forms.rs"]
mod forms;
#[path = "proxyctl_live/top.rs"]
mod top;
#[path = "proxyctl_live/watch.rs"]
mod watch;
#[path = "proxyctl_live/why.rs"]
mod why;

const PATIENCE: Duration = Duration::from_secs(30);

/// A node with three pods, of which one may not reach the Service.
struct Stage {
    client: Pod,
    web: Pod,
    stranger: Pod,
    vip: String,
    /// Of the client to the Service.
    _talk: Talk,
    _servers: Vec<Server>,
    cluster: Cluster,
}

impl Stage {
    fn set(name: &str) -> Result<Self> {
        // Packet by packet, so that the flows of Services are tracked.
        let flags = ["--socket-balancing", "false", "--map-size", "small"];
        let cluster = Cluster::start(name, &["a"], &flags)?;
        cluster.manifests().apply_objects(
            "policy.yaml",
            &only_client(&json!([{ "port": POD_PORT, "protocol": "TCP" }])),
        )?;
        let (client, web, stranger) = (
            cluster.pod(0, "client")?,
            cluster.pod(0, "web")?,
            cluster.pod(0, "stranger")?,
        );
        let servers = web.at(POD_PORT).map(|at| Server::tcp(&web, at, "web"));
        let servers = servers.into_iter().collect::<Result<_>>()?;
        let [vip, _] = cluster.service("web", 10, &[&web], &json!({}))?;
        cluster.eventually("the Service to answer", || {
            ask_tcp(&client, (vip, 80).into()).ok()
        })?;
        cluster.eventually("policy to be in force", || {
            let rows = cluster.agent(0).proxyctl(&["dump", "policy"]).ok()?;
            rows.contains("isolated").then_some(())
        })?;
        let talk = Talk::open(&client, (vip, 80).into())?;
        Ok(Self {
            client,
            web,
            _talk: talk,
            stranger,
            vip: vip.to_string(),
            _servers: servers,
            cluster,
        })
    }

    fn ctl(&self, words: &[&str]) -> Result<Output> {
        let mut command = self.cluster.node(0).command(program("proxyctl")?)?;
        command.args(words).output().context("start proxyctl")
    }

    /// Standard output of a verb that must end with this code.
    fn says(&self, code: i32, words: &[&str]) -> String {
        let output = self.ctl(words).unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {out}{told}");
        out
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.says(0, &[words, &["-o", "json"]].concat())).unwrap()
    }
}

#[test]
fn dumps_are_in_words_and_explanations_name_what_decides() {
    let stage = Stage::set("ctl").unwrap();
    services_and_backends(&stage);
    endpoints_and_flows(&stage);
    policy_and_maps(&stage);
    why_policy_decides(&stage);
    where_a_connection_goes(&stage);

    assert_eq!(stage.says(0, &["diff"]), "");
    let diff = stage.json(&["diff"]);
    assert_eq!(diff["apiVersion"], "weir.dev/v1alpha1");
    assert_eq!(diff["kind"], "DifferenceList");
    assert_eq!(diff["items"], json!([]));
    every_answer_has_a_version(&stage);
    assert_eq!(stage.says(0, &["log-level"]), "info\n");
    assert_eq!(stage.says(0, &["log-level", "debug"]), "debug\n");
    let status = stage.says(0, &["status", "--wait"]);
    assert!(
        status.contains("1/1 services, ") && status.contains("3 endpoints, 1 policies"),
        "{status}"
    );
}

/// Lists of `dump` are looked at in `forms`.
fn every_answer_has_a_version(stage: &Stage) {
    let to = format!("{}:80", stage.vip);
    for (words, kind) in [
        (&["status"][..], "Status"),
        (&["version"], "Version"),
        (&["log-level"], "LogLevel"),
        (&["diff"], "DifferenceList"),
        (
            &["policy", "why", "default/client", "default/web", "8080"],
            "PolicyWhy",
        ),
        (&["service", "trace", "default/client", &to], "ServiceTrace"),
        (&["cni", "log"], "CniLog"),
        (&["cni", "list"], "CniAttachmentList"),
        (&["cni", "status"], "CniStatus"),
    ] {
        let yaml = stage.says(0, &[words, &["-o", "yaml"]].concat());
        let yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
        for answer in [stage.json(words), yaml] {
            assert_eq!(answer["apiVersion"], "weir.dev/v1alpha1", "{words:?}");
            assert_eq!(answer["kind"], kind, "{words:?}");
        }
    }
}

fn services_and_backends(stage: &Stage) {
    let frontend = format!("{}:80/TCP", stage.vip);
    let backend = format!("{}:8080", stage.web.ipv4());
    let services = stage.json(&["dump", "services", "--service", "default/web"]);
    assert_eq!(
        (&services["apiVersion"], &services["kind"]),
        (&json!("weir.dev/v1alpha1"), &json!("ServiceList"))
    );
    let rows = services["items"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "two protocols in two families: {services}");
    let row = rows
        .iter()
        .find(|row| row["frontend"] == frontend.as_str())
        .unwrap();
    assert_eq!(row["service"], "default/web:tcp");
    assert_eq!(row["internal"]["backends"], json!([format!("{backend}*")]));
    let table = stage.says(0, &["dump", "services"]);
    assert!(table.starts_with("SERVICE "), "{table}");
    let names = stage.says(0, &["dump", "services", "-o", "name"]);
    assert!(names.lines().any(|name| name == frontend), "{names}");
    assert_eq!(
        stage.json(&["dump", "services", "--service", "default/other"])["items"],
        json!([])
    );

    let backends = stage.says(0, &["dump", "backends"]);
    assert!(
        backends.contains(&format!("{backend}/TCP")) && backends.contains("default/web:tcp"),
        "{backends}"
    );
}

fn endpoints_and_flows(stage: &Stage) {
    let endpoints = stage.json(&["dump", "endpoints"]);
    let pods: Vec<_> = endpoints["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["pod"])
        .collect();
    assert_eq!(pods.len(), 3);
    assert!(pods.contains(&&json!("default/web")), "{endpoints}");

    let flows = stage.says(0, &["dump", "conntrack", "--service", "default/web"]);
    let flow = flows
        .lines()
        // Beside it may stand flows that are closed and live on for some seconds.
        .find(|line| line.contains("default/client") && line.contains(" established "))
        .unwrap_or_else(|| panic!("{flows}"));
    assert!(
        flow.contains("default/web:tcp") && flow.contains(&format!("{}:8080", stage.web.ipv4())),
        "{flow}"
    );
    let all = stage.says(0, &["dump", "conntrack", "--all"]);
    assert!(all.lines().count() >= flows.lines().count(), "{all}");
}

fn policy_and_maps(stage: &Stage) {
    let policy = stage.says(0, &["dump", "policy"]);
    let line = policy
        .lines()
        .find(|line| line.starts_with("default/web") && line.contains("ingress"))
        .unwrap();
    assert!(
        line.contains("isolated") && line.contains("default/only-client ingress[0]"),
        "{policy}"
    );
    assert!(stage.says(0, &["dump", "maps"]).contains("POLICY_CELLS"));
    assert!(stage.says(0, &["dump", "affinity"]).starts_with("SERVICE"));
}

fn why_policy_decides(stage: &Stage) {
    let why = stage.says(
        0,
        &["policy", "why", "default/client", "default/web", "8080"],
    );
    assert!(
        why.contains("rule default/only-client ingress[0] allows port 8080"),
        "{why}"
    );
    assert!(why.ends_with("ALLOWED\n"), "{why}");
    let why = stage.says(
        1,
        &[
            "policy",
            "why",
            "default/stranger",
            "default/web",
            "8080/tcp",
        ],
    );
    assert!(
        why.contains("no rule allows this peer") && why.ends_with("DENIED\n"),
        "{why}"
    );
    let why = stage.says(
        1,
        &["policy", "why", "default/client", "default/web", "9090"],
    );
    assert!(why.contains("but not port 9090/TCP"), "{why}");
    let why = stage.says(0, &["policy", "why", "default/web", "default/web", "9090"]);
    assert!(
        why.matches("a pod always reaches itself").count() == 2,
        "{why}"
    );
    stage.says(2, &["policy", "why", "default/nobody", "default/web", "80"]);
    let why = stage.json(&["policy", "why", "default/client", "default/web", "8080"]);
    assert_eq!(why["apiVersion"], "weir.dev/v1alpha1");
    assert_eq!(
        (&why["kind"], &why["allowed"]),
        (&json!("PolicyWhy"), &json!(true))
    );
    assert_eq!(why["port"], "8080/TCP");
    let ingress = &why["paths"][0]["steps"][1];
    assert_eq!(
        (&ingress["direction"], &ingress["verdict"]),
        (&json!("ingress"), &json!("allowed"))
    );
    assert!(
        ingress["because"]
            .as_str()
            .unwrap()
            .contains("default/only-client ingress[0]"),
        "{why}"
    );
}

fn where_a_connection_goes(stage: &Stage) {
    let backend = format!("{}:8080", stage.web.ipv4());
    let to = format!("{}:80", stage.vip);
    let trace = stage.says(0, &["service", "trace", "default/client", &to]);
    let begun = format!("of this client there are some to {backend}");
    assert!(
        trace.contains("of Service default/web:tcp")
            && trace.contains(&begun)
            && trace.ends_with(&format!("goes to {backend}\n")),
        "{trace}"
    );
    for by_name in [
        "default/web:80",
        "svc/web:tcp",
        "service/default/web:80/tcp",
    ] {
        let named = stage.says(0, &["service", "trace", "default/client", by_name]);
        assert_eq!(named, trace, "{by_name}");
    }
    for (word, message) in [
        ("svc/web", "Service default/web has several ports"),
        ("default/web:81", "Service default/web has no port 81/TCP"),
        ("default/none", "`default/none` is no Service"),
    ] {
        let wrong = stage
            .ctl(&["service", "trace", "default/client", word])
            .unwrap();
        let told = String::from_utf8_lossy(&wrong.stderr);
        assert_eq!(wrong.status.code(), Some(2), "{told}");
        assert!(told.contains(message) && told.contains("hint: "), "{told}");
    }
    let trace = stage.says(1, &["service", "trace", "default/stranger", &to]);
    assert!(
        trace.contains("denied by the pod's ingress policy"),
        "{trace}"
    );
    // No policy lets it in, but it reaches itself: so say the programs, and so says the trace.
    ask_tcp(&stage.web, to.parse().unwrap()).unwrap();
    let trace = stage.says(0, &["service", "trace", "default/web", &to]);
    assert!(
        trace.contains("the client itself: allowed")
            && trace.ends_with(&format!("goes to {backend}\n")),
        "{trace}"
    );
    let trace = stage.says(0, &["service", "trace", "default/client", "192.0.2.1:80"]);
    assert!(
        trace.ends_with("not a Service: goes to 192.0.2.1:80 itself\n"),
        "{trace}"
    );
    let trace = stage.json(&["service", "trace", "default/client", &to]);
    assert_eq!(trace["apiVersion"], "weir.dev/v1alpha1");
    assert_eq!(trace["kind"], "ServiceTrace");
    assert_eq!(trace["destination"], format!("{to}/TCP"));
    assert_eq!(trace["verdict"], format!("goes to {backend}"));
    assert!(!trace["steps"].as_array().unwrap().is_empty(), "{trace}");
}

#[test]
fn what_someone_else_changed_shows_as_a_difference() {
    let stage = Stage::set("ctl-diff").unwrap();
    let reader = reader(stage.cluster.node(0)).unwrap();
    let mut frontends = reader.maps().frontends4.clone();
    let (key, _) = frontends.entries().unwrap()[0];
    frontends.remove(&key).unwrap();
    let diff = stage.says(1, &["diff"]);
    assert!(
        diff.starts_with("+ default/web:") && diff.lines().count() == 1,
        "{diff}"
    );
    let list: Value = serde_json::from_str(&stage.says(1, &["diff", "-o", "json"])).unwrap();
    assert_eq!(list["kind"], "DifferenceList");
    assert_eq!(list["items"], json!([diff.trim_end()]));

    let mut peers = reader.maps().peers4.clone();
    let (key, peer) = peers.entries().unwrap()[0];
    peers.remove(&key).unwrap();
    let mut words = reader.maps().policy_words.clone();
    words.set(60, ROW_ALLOW_ALL.into());
    let diff = stage.says(1, &["diff"]);
    let (policy, services): (Vec<_>, Vec<_>) =
        diff.lines().partition(|line| line.contains("policy"));
    assert_eq!(services.len(), 1, "{diff}");
    let address = std::net::Ipv4Addr::from(octets4(key.address));
    let missing = format!(
        "+ policy peer {address}  class {} flags {:#x}",
        peer.class, peer.flags
    );
    assert_eq!(
        policy,
        [
            "- policy word of endpoint 60  ingress row 1, egress row 0, side 0, epoch 0",
            "+ policy word of endpoint 60  ingress row 0, egress row 0, side 0, epoch 0",
            &missing
        ]
    );
}

#[test]
fn every_address_of_the_node_reaches_its_pods() {
    let stage = Stage::set("ctl-own").unwrap();
    let own = "172.30.99.1";
    let words = ["policy", "why", own, "default/web", "8080"];
    let why = stage.says(1, &words);
    assert!(why.ends_with("DENIED\n"), "not the node's yet: {why}");
    let node = stage.cluster.node(0);
    node.run(&["ip", "address", "add", "172.30.99.1/32", "dev", "eth0"])
        .unwrap();
    // The agent looks at the machine every ten seconds.
    let why = until("the address to be the node's", PATIENCE, || {
        let output = stage.ctl(&words)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.code() == Some(0)).then_some(said))
    })
    .unwrap();
    assert!(
        why.contains("the pod's own node may always reach it"),
        "{why}"
    );
}

#[test]
fn works_with_less_in_it_when_the_agent_is_down() {
    let mut stage = Stage::set("ctl-down").unwrap();
    stage.cluster.agent_mut(0).crash().unwrap();
    let output = stage.ctl(&["dump", "services"]).unwrap();
    let (out, told) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0));
    assert!(out.contains(&format!("{}:80/TCP", stage.vip)), "{out}");
    assert!(
        told.starts_with("note: no names, only what the maps hold: cannot reach the agent"),
        "{told}"
    );
    let (client, web) = (
        stage.client.ipv4().to_string(),
        stage.web.ipv4().to_string(),
    );
    stage.says(0, &["policy", "why", &client, &web, "8080"]);
    let trace = stage.says(
        0,
        &["service", "trace", &client, &format!("{}:80", stage.vip)],
    );
    assert!(trace.contains("goes to"), "{trace}");

    let output = stage.ctl(&["status"]).unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        told.contains("the kernel goes on by what is pinned: 4 frontends, 4 backends, 3 endpoints"),
        "{told}"
    );
}
