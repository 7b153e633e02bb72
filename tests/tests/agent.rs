//! The agent as a process on a node, fed from a folder of manifests: real programs, real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use proxy_agent::datapath::{Pins, Reader, Table as _};
use weir_tests::world::{Agent, Manifests, Node, Place, Server, World, ask_tcp, ask_udp, until};

const PATIENCE: Duration = Duration::from_secs(20);
const VIP4: &str = "10.96.0.10";
const VIP6: &str = "fd00:10:96::10";

/// An agent with a folder of manifests of its own.
struct Fixture {
    agent: Agent,
    manifests: Manifests,
}

impl Fixture {
    fn apply(&self, name: &str, yaml: &str) -> Result<()> {
        self.manifests.apply(name, yaml).map(drop)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.manifests.remove(name)
    }

    fn proxyctl(&self, words: &[&str]) -> Result<String> {
        self.agent.proxyctl(words)
    }
}

fn start(node: &Node) -> Fixture {
    let manifests = Manifests::new().unwrap();
    let agent = Agent::start(node, &manifests, &["--map-size", "small"]).unwrap();
    Fixture { agent, manifests }
}

/// A Service of both families with one slice each.
fn service(name: &str, vips: [&str; 2], protocol: &str, backends: &[IpAddr]) -> String {
    let slice = |family: &str, ipv6: bool| {
        let backends = backends.iter().filter(|address| address.is_ipv6() == ipv6);
        let endpoints: Vec<_> = backends
            .map(|address| format!("{{addresses: [\"{address}\"]}}"))
            .collect();
        let endpoints = endpoints.join(", ");
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: {name}-{family}, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}\n\
             addressType: {family}\nports: [{{name: main, port: 8080, protocol: {protocol}}}]\nendpoints: [{endpoints}]\n"
        )
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  clusterIP: {0}\n  clusterIPs: [\"{0}\", \"{1}\"]\n  ipFamilies: [IPv4, IPv6]\n\
         \x20 ports: [{{name: main, port: 80, targetPort: 8080, protocol: {protocol}}}]\n{2}{3}",
        vips[0],
        vips[1],
        slice("IPv4", false),
        slice("IPv6", true)
    )
}

fn at(vip: &str) -> SocketAddr {
    SocketAddr::new(vip.parse().unwrap(), 80)
}

/// Connects until the server of this name answers.
fn reach(place: &Place, vip: &str, name: &str) -> Result<()> {
    until(&format!("{name} to answer at {vip}"), PATIENCE, || {
        Ok((ask_tcp(place, at(vip))?.name == name).then_some(()))
    })
}

/// Everything in the maps of Services, as text.
fn service_maps(node: &Node) -> BTreeMap<&'static str, Vec<String>> {
    let reader = reader(node).unwrap();
    let maps = reader.maps();
    let mut all = BTreeMap::new();
    macro_rules! read {
        ($($field:ident)+) => {$(
            let entries = maps.$field.entries().unwrap();
            let mut lines: Vec<_> = entries.iter().map(|entry| format!("{entry:?}")).collect();
            lines.sort();
            all.insert(stringify!($field), lines);
        )+};
    }
    read!(frontends4 frontends6 backends4 backends6 backend_slots backend_members);
    all
}

fn reader(node: &Node) -> Result<Reader> {
    let bpffs: PathBuf = node.file("/sys/fs/bpf");
    Ok(Reader::open(Pins::new(&bpffs, "default")?)?)
}

/// `GET path`: status and body.
fn get(place: &Place, port: u16, path: &str) -> Result<(u16, String)> {
    let mut stream = place.connect(([127, 0, 0, 1], port).into())?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let code = text.get(9..12).context("no status line")?.parse()?;
    Ok((code, text))
}

#[test]
fn a_service_in_a_manifest_is_served() {
    let world = World::new("agent-vip").unwrap();
    let node = world.node("a").unwrap();
    let (client, server) = (
        node.plain_pod("client").unwrap(),
        node.plain_pod("web").unwrap(),
    );
    let _tcp = server
        .at(8080)
        .map(|at| Server::tcp(&server, at, "web").unwrap());
    let _udp = server
        .at(8080)
        .map(|at| Server::udp(&server, at, "dns").unwrap());
    let agent = start(&node);
    agent
        .apply(
            "web.yaml",
            &service("web", [VIP4, VIP6], "TCP", &server.addresses()),
        )
        .unwrap();
    for vip in [VIP4, VIP6] {
        reach(&client, vip, "web").unwrap();
        reach(&node, vip, "web").unwrap();
        let answer = ask_tcp(&client, at(vip)).unwrap();
        assert_eq!(answer.peer, at(vip), "the client sees the frontend");
    }

    let dns = ["10.96.0.53", "fd00:10:96::53"];
    agent
        .apply("dns.yaml", &service("dns", dns, "UDP", &server.addresses()))
        .unwrap();
    for vip in dns {
        let answer = until("UDP to answer", PATIENCE, || {
            Ok(ask_udp(&client, at(vip), b"q").ok())
        })
        .unwrap();
        assert_eq!((answer.name.as_str(), answer.peer), ("dns", at(vip)));
    }

    agent.remove("web.yaml").unwrap();
    until("the Service to be gone", PATIENCE, || {
        Ok(service_maps(&node)["frontends4"].len().eq(&1).then_some(()))
    })
    .unwrap();
    assert!(ask_tcp(&client, at(VIP4)).is_err());
    agent.remove("dns.yaml").unwrap();
    until("empty maps", PATIENCE, || {
        Ok(service_maps(&node)
            .values()
            .all(Vec::is_empty)
            .then_some(()))
    })
    .unwrap();
}

#[test]
fn a_broken_manifest_is_named_and_harms_no_other() {
    let world = World::new("agent-yaml").unwrap();
    let node = world.node("a").unwrap();
    let server = node.plain_pod("web").unwrap();
    let _tcp = server
        .at(8080)
        .map(|at| Server::tcp(&server, at, "web").unwrap());
    let agent = start(&node);
    let good = service("web", [VIP4, VIP6], "TCP", &server.addresses());
    agent.apply("web.yaml", &good).unwrap();
    reach(&node, VIP4, "web").unwrap();

    agent
        .apply(
            "broken.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: [\n",
        )
        .unwrap();
    let status = until("the status to name the file", PATIENCE, || {
        let status = agent.proxyctl(&["status"])?;
        Ok(status.contains("broken.yaml").then_some(status))
    })
    .unwrap();
    assert!(status.contains("API        WARNING"), "{status}");
    let other = service(
        "other",
        ["10.96.0.11", "fd00:10:96::11"],
        "TCP",
        &server.addresses(),
    );
    agent.apply("other.yaml", &other).unwrap();
    reach(&node, "10.96.0.11", "web").unwrap();
    reach(&node, VIP6, "web").unwrap();

    // What was good stays when its file breaks.
    agent.apply("web.yaml", "kind: [\n").unwrap();
    until("the status to name web.yaml", PATIENCE, || {
        Ok(agent
            .proxyctl(&["status"])?
            .contains("/web.yaml")
            .then_some(()))
    })
    .unwrap();
    reach(&node, VIP4, "web").unwrap();
}

#[test]
fn a_killed_agent_leaves_all_and_takes_it_up_again() {
    let world = World::new("agent-kill").unwrap();
    let node = world.node("a").unwrap();
    let (client, server) = (
        node.plain_pod("client").unwrap(),
        node.plain_pod("web").unwrap(),
    );
    let _tcp = server
        .at(8080)
        .map(|at| Server::tcp(&server, at, "web").unwrap());
    let mut agent = start(&node);
    for index in 10..40 {
        let vips = [format!("10.96.0.{index}"), format!("fd00:10:96::{index}")];
        let yaml = service(
            &format!("web{index}"),
            [&vips[0], &vips[1]],
            "TCP",
            &server.addresses(),
        );
        agent.apply(&format!("web{index}.yaml"), &yaml).unwrap();
    }
    reach(&client, "10.96.0.39", "web").unwrap();
    until("30 Services in both families", PATIENCE, || {
        let maps = service_maps(&node);
        Ok((maps["frontends4"].len() == 30 && maps["frontends6"].len() == 30).then_some(()))
    })
    .unwrap();
    let mut open = client.connect(at(VIP4)).unwrap();
    let before = service_maps(&node);

    agent.agent.crash().unwrap();
    assert_eq!(service_maps(&node), before, "the kernel keeps it all");
    reach(&client, VIP4, "web").unwrap();
    reach(&client, VIP6, "web").unwrap();
    let output = agent.proxyctl(&["dump", "maps"]).unwrap();
    assert!(
        output.contains("FRONTENDS4"),
        "works without the agent: {output}"
    );

    agent.agent.restart().unwrap();
    ready(&node).unwrap();
    assert_eq!(service_maps(&node), before, "ids and slots are kept");
    open.write_all(b"still here").unwrap();
    let mut answer = vec![0; "web\nstill here".len()];
    open.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"web\nstill here");
    reach(&client, VIP6, "web").unwrap();

    // What changed while it was away is caught up with.
    agent.agent.crash().unwrap();
    agent.remove("web10.yaml").unwrap();
    agent.agent.restart().unwrap();
    until("the removed Service to be gone", PATIENCE, || {
        Ok((service_maps(&node)["frontends4"].len() == 29).then_some(()))
    })
    .unwrap();
}

fn ready(node: &Node) -> Result<()> {
    until("readiness", PATIENCE, || {
        let (code, text) = get(node, 10256, "/readyz")?;
        ensure!(code == 200, "{text}");
        Ok(Some(()))
    })
}

#[test]
fn health_and_metrics_are_kube_proxys() {
    let world = World::new("agent-health").unwrap();
    let node = world.node("a").unwrap();
    let agent = start(&node);
    agent
        .apply(
            "web.yaml",
            &service("web", [VIP4, VIP6], "TCP", &["10.244.1.9".parse().unwrap()]),
        )
        .unwrap();
    ready(&node).unwrap();

    let (code, text) = get(&node, 10256, "/healthz").unwrap();
    assert_eq!(code, 200, "{text}");
    assert!(
        text.contains("content-type: application/json\r\n"),
        "{text}"
    );
    assert!(
        text.contains("x-content-type-options: nosniff\r\n"),
        "{text}"
    );
    let body: serde_json::Value =
        serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["nodeEligible"], true);
    assert!(
        body["lastUpdated"].is_string() && body["currentTime"].is_string(),
        "{body}"
    );

    let metrics = until("the sync to be counted", PATIENCE, || {
        let (_, text) = get(&node, 10249, "/metrics")?;
        Ok(text
            .contains("weir_bpf_map_entries{map=\"FRONTENDS4\"} 1\n")
            .then_some(text))
    })
    .unwrap();
    for name in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"}",
        "kubeproxy_proxy_healthz_total{code=\"200\"}",
        "kubeproxy_network_programming_duration_seconds_bucket{le=\"0.25\",ip_family=\"IPv4\"}",
        "weir_build_info{",
        "weir_drops_total{reason=\"policy-ingress\"}",
        "weir_bpf_map_max_entries{map=\"CONNTRACK4\"} 8192",
        "weir_drift_entries 0",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    for (path, wanted) in [
        ("/proxyMode", "weir"),
        ("/healthz", "ok"),
        ("/configz", "\"nodeName\":\"a\""),
    ] {
        let (code, text) = get(&node, 10249, path).unwrap();
        assert!(code == 200 && text.contains(wanted), "{path}: {text}");
    }

    // A node that is being deleted gets no traffic, but is not restarted for it.
    let leaving = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n\
                   spec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}\n";
    agent.apply("node-a.yaml", leaving).unwrap();
    until("the node to be ineligible", PATIENCE, || {
        let (code, text) = get(&node, 10256, "/healthz")?;
        Ok((code == 503 && text.contains("\"nodeEligible\":false")).then_some(()))
    })
    .unwrap();
    assert_eq!(get(&node, 10256, "/livez").unwrap().0, 200);
}

#[test]
fn health_check_node_ports_count_ready_endpoints_here() {
    let world = World::new("agent-hcnp").unwrap();
    let node = world.node("a").unwrap();
    let agent = start(&node);
    let yaml = |ready: bool, policy: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: lb, namespace: default}}\n\
             spec:\n  type: LoadBalancer\n  externalTrafficPolicy: {policy}\n  healthCheckNodePort: 32000\n\
             \x20 clusterIP: {VIP4}\n  clusterIPs: [{VIP4}]\n  ports: [{{port: 80, nodePort: 30080}}]\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: lb-1, namespace: default, labels: {{kubernetes.io/service-name: lb}}}}\n\
             addressType: IPv4\nports: [{{name: \"\", port: 8080, protocol: TCP}}]\n\
             endpoints:\n- {{addresses: [10.244.1.9], nodeName: a, conditions: {{ready: {ready}, serving: true, terminating: true}}}}\n\
             - {{addresses: [10.244.2.9], nodeName: b}}\n"
        )
    };
    agent.apply("lb.yaml", &yaml(true, "Local")).unwrap();
    let answer = |wanted: u16| {
        until("the health check to answer", PATIENCE, || {
            let (code, text) = get(&node, 32000, "/any/path")?;
            Ok((code == wanted).then_some(text))
        })
        .unwrap()
    };
    let text = answer(200);
    assert!(
        text.contains("x-load-balancing-endpoint-weight: 1\r\n"),
        "{text}"
    );
    assert!(
        text.contains("content-type: application/json\r\n"),
        "{text}"
    );
    assert!(
        text.ends_with(
            r#"{"service":{"namespace":"default","name":"lb"},"localEndpoints":1,"serviceProxyHealthy":true}"#
        ),
        "{text}"
    );
    agent.apply("lb.yaml", &yaml(false, "Local")).unwrap();
    assert!(
        answer(503).contains("\"localEndpoints\":0"),
        "one that only serves does not count"
    );
    agent.apply("lb.yaml", &yaml(true, "Cluster")).unwrap();
    until("the port to be closed", PATIENCE, || {
        Ok(get(&node, 32000, "/").is_err().then_some(()))
    })
    .unwrap();
}

#[test]
fn cleanup_leaves_nothing() {
    let world = World::new("agent-cleanup").unwrap();
    let node = world.node("a").unwrap();
    let pins = || {
        node.run(&["find", "/sys/fs/bpf", "-mindepth", "1"])
            .unwrap()
    };
    let before = pins();
    let mut agent = start(&node);
    assert_ne!(pins(), before);
    agent
        .apply(
            "web.yaml",
            &service("web", [VIP4, VIP6], "TCP", &["10.244.1.9".parse().unwrap()]),
        )
        .unwrap();
    ready(&node).unwrap();
    agent.agent.crash().unwrap();
    let program = weir_tests::world::program("proxy-agent").unwrap();
    let program = program.to_str().unwrap();
    for round in ["first", "again"] {
        node.run(&[
            program,
            "cleanup",
            "--cni-install",
            "true",
            "--cni-conf-dir",
            "/run/cni/net.d",
        ])
        .unwrap_or_else(|error| panic!("{round}: {error:#}"));
    }
    assert_eq!(pins(), before);
    for file in [
        "weir/agent.sock",
        "weir/cni.sock",
        "weir/node.json",
        "weir/heartbeat",
    ] {
        assert!(!node.file(&format!("/run/{file}")).exists(), "{file}");
    }
    assert!(!node.file("/run/cni/net.d/05-weir.conflist").exists());
    assert_eq!(
        node.run(&["ip", "route", "show", "proto", "87"]).unwrap(),
        ""
    );
    let error = ask_tcp(&node, at(VIP4)).unwrap_err();
    assert_ne!(
        error.kind(),
        std::io::ErrorKind::ConnectionRefused,
        "nobody answers for the VIP any more"
    );
}

#[test]
fn what_the_machine_lacks_is_named() {
    let world = World::new("agent-preflight").unwrap();
    let node = world.node("a").unwrap();
    let program = weir_tests::world::program("proxy-agent").unwrap();
    let failing = |flags: &[&str]| {
        let output = node
            .command(&program)
            .unwrap()
            .args(flags)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    for (flags, wanted, said) in [
        (&["--bpffs", "/tmp"][..], 1, "no BPF file system at /tmp"),
        (
            &["--cgroup-root", "/tmp"],
            1,
            "no cgroup v2 hierarchy at /tmp",
        ),
        (
            &["--manifests", "/absent", "--map-size", "small"],
            1,
            "/absent",
        ),
        (
            &["--config", "/absent.yaml"],
            2,
            "read configuration /absent.yaml",
        ),
        (&["--instance", "a/b"], 2, "flags: instance: `a/b`"),
        (
            &["--log-level", "a=b=c"],
            2,
            "flags: logging.level: `a=b=c`",
        ),
        (
            &["--healthz-bind-address", "nowhere"],
            2,
            "--healthz-bind-address",
        ),
    ] {
        let (code, text) = failing(flags);
        assert_eq!(code, wanted, "{flags:?}: {text}");
        assert!(text.contains("error: "), "{flags:?}: {text}");
        assert!(text.contains(said), "{flags:?}: {text}");
    }
}
