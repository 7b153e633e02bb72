//! What the agent tells about itself over HTTP.

use std::net::{IpAddr, SocketAddr};

use weir_tests::world::{Agent, Manifests, Node, World, until};

use super::fixture::{PATIENCE, VIP4, VIP6, get, ready, service, start};

#[test]
fn health_and_metrics_are_kube_proxys() {
    let world = World::new("agent-health").unwrap();
    let node = world.node("a").unwrap();
    let agent = start(&node);
    agent.apply_web(&["10.244.1.9".parse().unwrap()]).unwrap();
    ready(&node).unwrap();

    healthz_is_kube_proxys(&node);
    metrics_are_kube_proxys(&node);

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

fn healthz_is_kube_proxys(node: &Node) {
    let (code, text) = get(node, 10256, "/healthz").unwrap();
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
}

fn metrics_are_kube_proxys(node: &Node) {
    let metrics = until("the sync to be counted", PATIENCE, || {
        let (_, text) = get(node, 10249, "/metrics")?;
        Ok(text
            .contains("weir_bpf_map_entries{map=\"FRONTENDS4\"} 1\n")
            .then_some(text))
    })
    .unwrap();
    for name in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"}",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"}",
        "kubeproxy_proxy_healthz_total{code=\"200\"}",
        "weir_build_info{",
        "weir_drops_total{reason=\"policy-ingress\"}",
        "weir_bpf_map_max_entries{map=\"FLOWS4\"} 8192",
        "weir_drift_entries 0",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    for (path, wanted) in [
        ("/proxyMode", "weir"),
        ("/healthz", "ok"),
        ("/configz", "\"nodeName\":\"a\""),
    ] {
        let (code, text) = get(node, 10249, path).unwrap();
        assert!(code == 200 && text.contains(wanted), "{path}: {text}");
    }
}

/// The value of a series without labels, or with these.
fn figure(node: &Node, series: &str) -> Option<f64> {
    let (_, text) = get(node, 10249, "/metrics").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(series))?;
    line.trim().parse().ok()
}

fn becomes(node: &Node, series: &str, wanted: f64) {
    let mut seen = None;
    until(series, PATIENCE, || {
        seen = figure(node, series);
        Ok((seen == Some(wanted)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {seen:?}, wanted {wanted}"));
}

const PROGRAMMED: &str = "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"}";
const PROGRAMMED6: &str =
    "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv6\"}";
const SERVICES: &str = "kubeproxy_sync_proxy_rules_service_changes_total";
const SLICES: &str = "kubeproxy_sync_proxy_rules_endpoint_changes_total";
const SERVICES_PENDING: &str = "kubeproxy_sync_proxy_rules_service_changes_pending";
const SLICES_PENDING: &str = "kubeproxy_sync_proxy_rules_endpoint_changes_pending";

#[test]
fn changes_are_counted_by_kind_and_wait_until_they_are_applied() {
    let world = World::new("agent-changes").unwrap();
    let node = world.node("a").unwrap();
    let agent = start(&node);
    let web = |host: u8| {
        let backend = format!("10.244.1.{host}").parse().unwrap();
        service("web", [VIP4, VIP6], "TCP", &[backend])
    };
    agent.apply("web.yaml", &web(9)).unwrap();
    becomes(&node, SERVICES, 1.0);
    becomes(&node, SLICES, 2.0);
    becomes(&node, SERVICES_PENDING, 0.0);

    // A slice alone, without a word about when.
    agent.apply("web.yaml", &web(10)).unwrap();
    becomes(&node, SLICES, 3.0);
    assert_eq!(figure(&node, SERVICES), Some(1.0));
    assert_eq!(figure(&node, PROGRAMMED), Some(0.0));

    // One that says when its endpoints changed.
    let now = node
        .run(&["date", "-u", "+%Y-%m-%dT%H:%M:%S.%6NZ"])
        .unwrap();
    let key = "endpoints.kubernetes.io/last-change-trigger-time";
    let stamped = web(11).replace(
        "{name: web-IPv4, ",
        &format!(
            "{{name: web-IPv4, annotations: {{{key}: \"{}\"}}, ",
            now.trim()
        ),
    );
    agent.apply("web.yaml", &stamped).unwrap();
    becomes(&node, PROGRAMMED, 1.0);
    becomes(&node, SLICES, 4.0);
    assert_eq!(figure(&node, PROGRAMMED6), Some(0.0), "the other family");

    // What is refused waits.
    let rival = service(
        "zrival",
        [VIP4, VIP6],
        "TCP",
        &["10.244.1.9".parse().unwrap()],
    );
    agent.apply("rival.yaml", &rival).unwrap();
    becomes(&node, SERVICES_PENDING, 1.0);
    becomes(&node, SLICES_PENDING, 1.0);
    assert_eq!(get(&node, 10256, "/healthz").unwrap().0, 200);
    agent.remove("rival.yaml").unwrap();
    becomes(&node, SERVICES_PENDING, 0.0);
    becomes(&node, SLICES_PENDING, 0.0);
}

#[test]
fn health_check_node_ports_count_ready_endpoints_here() {
    let world = World::new("agent-hcnp").unwrap();
    let node = world.node("a").unwrap();
    let agent = start(&node);
    // One pod with an address of each family is one endpoint.
    let yaml = |ready: bool, policy: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: lb, namespace: default}}\n\
             spec:\n  type: LoadBalancer\n  externalTrafficPolicy: {policy}\n  healthCheckNodePort: 32000\n\
             \x20 clusterIP: {VIP4}\n  clusterIPs: [\"{VIP4}\", \"{VIP6}\"]\n  ports: [{{port: 80, nodePort: 30080}}]\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: lb-1, namespace: default, labels: {{kubernetes.io/service-name: lb}}}}\n\
             addressType: IPv4\nports: [{{name: \"\", port: 8080, protocol: TCP}}]\n\
             endpoints:\n- {{addresses: [10.244.1.9], nodeName: a, conditions: {{ready: {ready}, serving: true, terminating: true}}}}\n\
             - {{addresses: [10.244.2.9], nodeName: b}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: lb-2, namespace: default, labels: {{kubernetes.io/service-name: lb}}}}\n\
             addressType: IPv6\nports: [{{name: \"\", port: 8080, protocol: TCP}}]\n\
             endpoints:\n- {{addresses: [\"fd00:244:1::9\"], nodeName: a, conditions: {{ready: {ready}, serving: true, terminating: true}}}}\n"
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
fn health_check_node_ports_keep_to_the_node_port_addresses() {
    let world = World::new("agent-hcnpa").unwrap();
    let node = world.node("a").unwrap();
    let manifests = Manifests::new().unwrap();
    // A family without a range would serve on all of its addresses.
    let range = format!("{}/32,fdff::/16", node.ipv4());
    let flags = ["--map-size", "small", "--nodeport-addresses", &range];
    let agent = Agent::start(&node, &manifests, &flags).unwrap();
    let yaml = "apiVersion: v1\nkind: Service\nmetadata: {name: lb, namespace: default}\n\
                spec:\n  type: LoadBalancer\n  externalTrafficPolicy: Local\n  healthCheckNodePort: 32000\n\
                \x20 clusterIP: 10.96.0.10\n  clusterIPs: [10.96.0.10]\n  ports: [{port: 80, nodePort: 30080}]\n";
    manifests.apply("lb.yaml", yaml).unwrap();
    let open = |ip: IpAddr| node.connect(SocketAddr::new(ip, 32000)).is_ok();
    until("the port to be open", PATIENCE, || {
        Ok(open(node.ipv4().into()).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", agent.log()));
    assert!(!open([127, 0, 0, 1].into()));
    assert!(!open(node.ipv6().into()));
}
