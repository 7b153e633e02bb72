//! `proxyctl top`: what is counted, against connections that are counted as they are made; printed, and on a terminal.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use weir_tests::{
    pty::Pty,
    world::{Cluster, Pod, Server, ask_tcp, cluster::POD_PORT, program, until},
};

use super::{PATIENCE, Stage};

/// A `top` that prints, and the objects that it has printed.
struct Top {
    child: Child,
    objects: Arc<Mutex<Vec<Value>>>,
}

impl Top {
    /// Begins, and has looked once.
    fn begin(cluster: &Cluster, by: &str) -> Self {
        let mut command = cluster
            .node(0)
            .command(program("proxyctl").unwrap())
            .unwrap();
        let words = ["top", "--by", by, "--interval", "100ms", "-o", "json"];
        command.args(words).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let objects = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&objects);
        thread::spawn(move || {
            for line in printed.map_while(Result::ok) {
                kept.lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).unwrap());
            }
        });
        let top = Self { child, objects };
        top.await_more();
        top
    }

    /// Waits for two further looks: the first may have begun before.
    fn await_more(&self) {
        let now = self.objects.lock().unwrap().len();
        until("further looks", PATIENCE, || {
            Ok((self.objects.lock().unwrap().len() >= now + 2).then_some(()))
        })
        .unwrap();
    }

    /// How much of a rate there was over all looks, in a row.
    fn sum(&self, column: &str, row: &str, name: &str) -> i64 {
        let objects = self.objects.lock().unwrap();
        let items = objects.iter().flat_map(|object| {
            let seconds = object["seconds"].as_f64().unwrap();
            let items = object["items"].as_array().unwrap().iter();
            items.map(move |item| (seconds, item))
        });
        let of_row = items.filter(|(_, item)| item[column] == row);
        let counts = of_row.map(|(seconds, item)| item[name].as_f64().unwrap() * seconds);
        counts.sum::<f64>().round() as i64
    }

    /// The newest row.
    fn last(&self, column: &str, row: &str) -> Value {
        let objects = self.objects.lock().unwrap();
        let items = objects
            .iter()
            .rev()
            .flat_map(|object| object["items"].as_array().unwrap());
        let mut of_row = items.filter(|item| item[column] == row);
        of_row.next().cloned().unwrap_or_default()
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        // One that has failed already has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn connect(from: &Pod, to: SocketAddr, times: usize) {
    for _ in 0..times {
        ask_tcp(from, to).unwrap();
    }
}

#[test]
fn what_is_counted_is_what_was_done() {
    let stage = Stage::set("ctl-top").unwrap();
    let vip: SocketAddr = (stage.vip.parse::<std::net::IpAddr>().unwrap(), 80).into();
    let [services, pods, drops] =
        ["service", "pod", "drop"].map(|by| Top::begin(&stage.cluster, by));
    connect(&stage.client, vip, 7);
    connect(&stage.client, stage.web.at(POD_PORT)[0], 3);
    ask_tcp(&stage.stranger, vip).unwrap_err();
    for top in [&services, &pods, &drops] {
        top.await_more();
    }
    let of_service = |name: &str| services.sum("service", "default/web:tcp", name);
    // The stranger's segment is a flow only where policy lets it be one.
    assert_eq!(of_service("newPerSecond"), 7);
    assert_eq!(of_service("straightNewPerSecond"), 3);
    let row = services.last("service", "default/web:tcp");
    assert!(row["flows"].as_u64() >= Some(1), "the talk lives: {row}");
    let of_pod = |pod: &str, name: &str| pods.sum("pod", pod, name);
    assert_eq!(of_pod("default/client", "askedPerSecond"), 10);
    assert_eq!(of_pod("default/client", "servedPerSecond"), 0);
    assert_eq!(of_pod("default/web", "servedPerSecond"), 10);
    let dropped = drops.sum("reason", "policy-ingress", "packetsPerSecond");
    let row = drops.last("reason", "policy-ingress");
    assert!(
        dropped >= 1 && row["packets"].as_i64() >= Some(dropped),
        "{row}"
    );
    assert!(
        row["meaning"].as_str().unwrap().contains("receiving pod"),
        "{row}"
    );
    let kinds = [&services, &pods, &drops].map(|top| {
        let first = top.objects.lock().unwrap()[0].clone();
        assert_eq!(first["apiVersion"], "weir.dev/v1alpha1");
        first["kind"].clone()
    });
    assert_eq!(
        kinds,
        ["TopServices", "TopPods", "TopDrops"].map(|kind| json!(kind))
    );
}

#[test]
fn tables_are_printed_one_after_another_and_a_terminal_gets_a_screen() {
    let mut stage = Stage::set("ctl-screen").unwrap();
    let vip: SocketAddr = (stage.vip.parse::<std::net::IpAddr>().unwrap(), 80).into();
    ask_tcp(&stage.stranger, vip).unwrap_err();
    let often = ["top", "--interval", "100ms", "--count", "2"];
    let words = [&often[..], &["--by", "drop", "--filter", "INGRESS"]].concat();
    let tables = stage.says(0, &words);
    let lines: Vec<Vec<&str>> = tables
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let first = |line: usize| lines[line].first().copied();
    let heads = [first(0), first(1), first(2), first(3), first(4)];
    let table = [Some("REASON"), Some("policy-ingress")];
    assert_eq!(
        heads,
        [table[0], table[1], None, table[0], table[1]],
        "{tables}"
    );
    assert_eq!(lines.len(), 5, "{tables}");
    let names = stage.says(
        0,
        &[&often[..], &["--sort", "flows", "-o", "name"]].concat(),
    );
    assert!(
        names.lines().any(|line| line == "default/web:tcp/IPv4"),
        "{names}"
    );
    let refused = stage.ctl(&["top", "--sort", "weight"]).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("hint: there are service, new/s,"), "{told}");

    on_a_terminal(&stage);
    stage.cluster.agent_mut(0).crash().unwrap();
    let names = stage.says(0, &[&often[..], &["-o", "name"]].concat());
    assert!(names.lines().all(|line| line.starts_with('#')), "{names}");
    assert!(!names.is_empty());
}

fn on_a_terminal(stage: &Stage) {
    let setsid = stage.cluster.node(0).command("setsid").unwrap();
    let proxyctl = program("proxyctl").unwrap();
    let words = [proxyctl.to_str().unwrap(), "top", "--interval", "200ms"];
    let mut pty = Pty::start(setsid, &words, (12, 90)).unwrap();
    let shown = pty
        .eventually("the Service", |text| text.contains("default/web:tcp"))
        .unwrap();
    assert!(shown.starts_with("[Services] Pods  Drops "), "{shown}");
    assert!(
        shown.contains("NEW/S v") && shown.contains("q quit"),
        "{shown}"
    );
    assert!(pty.is_taken());
    pty.press("\t").unwrap();
    pty.eventually("pods", |text| {
        text.contains("[Pods]") && text.contains("default/client")
    })
    .unwrap();
    pty.press("\t").unwrap();
    pty.eventually("drops", |text| {
        text.contains("[Drops]") && text.contains("policy-ingress")
    })
    .unwrap();
    // By the column to the right, the other way round.
    pty.press("\x1b[Cr").unwrap();
    pty.eventually("the order", |text| text.contains("BYTES/S ^"))
        .unwrap();
    pty.press("/no-such-q").unwrap();
    pty.eventually("no row", |text| {
        text.contains("filter: no-such-q_") && !text.contains("policy-ingress")
    })
    .unwrap();
    pty.press("\r\x1b").unwrap();
    pty.eventually("all rows", |text| text.contains("policy-ingress"))
        .unwrap();
    pty.press("q").unwrap();
    assert_eq!(pty.wait().unwrap().code(), Some(0));
    until("the terminal to be given back", PATIENCE, || {
        Ok((!pty.is_taken()).then_some(()))
    })
    .unwrap();
}

/// A port of both families is one of each: who reads rows by name finds each once.
#[test]
fn both_families_of_a_service_have_rows_of_their_own() {
    let stage = Stage::set("ctl-families").unwrap();
    let cluster = &stage.cluster;
    let both = cluster
        .service("both", 20, &[&stage.web], &json!({}))
        .unwrap();
    let both = both.map(|to| (to, 80).into());
    for to in both {
        cluster
            .eventually("the Service to answer", || ask_tcp(&stage.client, to).ok())
            .unwrap();
    }
    // Who begins now knows its name.
    let top = Top::begin(cluster, "service");
    for (to, times) in both.into_iter().zip([2, 3]) {
        connect(&stage.client, to, times);
    }
    top.await_more();
    let objects = top.objects.lock().unwrap();
    let rows = objects
        .iter()
        .flat_map(|object| object["items"].as_array().unwrap());
    let rows: Vec<&Value> = rows
        .filter(|row| row["service"] == "default/both:tcp")
        .collect();
    for family in ["IPv4", "IPv6"] {
        assert!(rows.iter().any(|row| row["family"] == family), "{rows:?}");
    }
    for object in objects.iter() {
        let items = object["items"].as_array().unwrap().iter();
        let mut names: Vec<_> = items
            .map(|row| (&row["service"], &row["family"]))
            .map(|name| format!("{name:?}"))
            .collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{object}");
    }
}

/// As agents run unless told: the backend is chosen at the socket, and what is tracked is a flow to it.
#[test]
fn connections_that_a_socket_hook_leads_are_told_of_the_service_too() {
    let cluster = Cluster::start("ctl-straight", &["a"], &["--map-size", "small"]).unwrap();
    let (client, web) = (
        cluster.pod(0, "client").unwrap(),
        cluster.pod(0, "web").unwrap(),
    );
    let _servers = web
        .at(POD_PORT)
        .map(|at| Server::tcp(&web, at, "web").unwrap());
    let [vip, _] = cluster.service("web", 10, &[&web], &json!({})).unwrap();
    let vip = (vip, 80).into();
    cluster
        .eventually("the Service to answer", || ask_tcp(&client, vip).ok())
        .unwrap();
    let top = Top::begin(&cluster, "service");
    connect(&client, vip, 5);
    top.await_more();
    let sum = |name: &str| top.sum("service", "default/web:tcp", name);
    assert_eq!((sum("newPerSecond"), sum("straightNewPerSecond")), (0, 5));
}
