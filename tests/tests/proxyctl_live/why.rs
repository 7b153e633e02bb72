//! `policy why` about flows to Services and between nodes: it says what the kernel does, or who else decides.

use serde_json::{Value, json};
use weir_tests::world::{Cluster, Pod, ask_tcp};

use super::Stage;

/// Policies of these pods, by one file, which replace those that it had.
fn apply(cluster: &Cluster, file: &str, policies: &[(&str, Value)]) {
    let objects: Vec<_> = policies
        .iter()
        .map(|(name, spec)| {
            json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": { "name": name, "namespace": "default" },
                "spec": spec,
            })
        })
        .collect();
    cluster.manifests().apply_objects(file, &objects).unwrap();
}

fn app(name: &str) -> Value {
    json!({ "podSelector": { "matchLabels": { "app": name } } })
}

fn block(cidr: &str) -> Value {
    json!({ "ipBlock": { "cidr": cidr } })
}

/// A policy that lets `app` begin flows to one peer only.
fn way_out(app: &str, peer: &Value) -> Value {
    json!({
        "podSelector": { "matchLabels": { "app": app } },
        "policyTypes": ["Egress"],
        "egress": [{ "to": [peer], "ports": [{ "port": 8080, "protocol": "TCP" }] }],
    })
}

/// A Service's address is none that policy sees: it judges the flow behind it. So what the peer is called decides, and
/// the answer is that of the flow, by whatever word it is asked for.
#[test]
fn a_flow_to_a_service_is_judged_at_its_backends() {
    let stage = Stage::set("why-service").unwrap();
    let web = stage.web.ipv4();
    for (number, (peer, passes)) in [
        (app("web"), true),
        (block(&format!("{}/32", stage.vip)), false),
        (block("10.96.0.0/16"), false),
        (block(&format!("{web}/32")), true),
        (app("stranger"), false),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("way-out-{number}");
        apply(
            &stage.cluster,
            "out.yaml",
            &[(&name, way_out("client", &peer))],
        );
        let in_force = format!("isolated by default/{name}\n");
        for to in [&stage.vip, "service/default/web"] {
            let why = ["policy", "why", "default/client", to, "80"];
            let (code, text) = stage
                .cluster
                .eventually("the policy to be in force", || {
                    let (code, text) = stage.cluster.agent(0).proxyctl_verdict(&why).unwrap();
                    text.contains(&in_force).then_some((code, text))
                })
                .unwrap();
            let at = (stage.vip.parse::<std::net::IpAddr>().unwrap(), 80).into();
            assert_eq!(ask_tcp(&stage.client, at).is_ok(), passes, "{peer}");
            assert_eq!(code, i32::from(!passes), "{peer}: {text}");
            assert!(
                text.contains("is of Service default/web:tcp: policy is judged behind it"),
                "{text}"
            );
            let backend = format!("default/web ({web}) port 8080");
            assert!(text.contains(&backend), "{text}");
        }
    }
    apply(&stage.cluster, "out.yaml", &[]);
    not_let_in(&stage);
    of_two_backends_one_is_denied(&stage);
    words_for_services(&stage);
}

fn not_let_in(stage: &Stage) {
    let why = ["policy", "why", "default/stranger", &stage.vip, "80"];
    let text = stage.says(1, &why);
    assert!(
        text.contains("isolated by default/only-client") && text.ends_with("\nDENIED\n"),
        "{text}"
    );
}

fn of_two_backends_one_is_denied(stage: &Stage) {
    let both = [&stage.web, &stage.stranger];
    let [vip, _] = stage
        .cluster
        .service("both", 12, &both, &json!({}))
        .unwrap();
    let web = app("web");
    apply(
        &stage.cluster,
        "out.yaml",
        &[("web-only", way_out("client", &web))],
    );
    let why = ["policy", "why", "default/client", &vip.to_string(), "80"];
    let told = "PARTLY: of 2 backends policy denies 1\n";
    stage
        .cluster
        .eventually("the half of the backends to be denied", || {
            let (code, text) = stage.cluster.agent(0).proxyctl_verdict(&why).unwrap();
            (code == 1 && text.ends_with(told)).then_some(())
        })
        .unwrap();
    let text = stage.says(1, &[&why[..], &["-o", "json"]].concat());
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&answer["verdict"], &answer["allowed"]),
        (&json!("partly"), &json!(false))
    );
    assert_eq!(answer["service"]["service"], "default/both:tcp");
    assert_eq!(answer["paths"].as_array().unwrap().len(), 2, "{answer}");
    stage.cluster.endpoints("both", &[]).unwrap();
    stage
        .cluster
        .eventually("the Service to have no backend", || {
            let (code, text) = stage.cluster.agent(0).proxyctl_verdict(&why).unwrap();
            (code == 1 && text.contains("DENIED: the Service has no usable endpoint")).then_some(())
        })
        .unwrap();
    apply(&stage.cluster, "out.yaml", &[]);
}

fn words_for_services(stage: &Stage) {
    for (to, port, message, hint) in [
        (
            "service/default/web",
            "81",
            "Service default/web has no port 81/TCP",
            "hint: its ports are 80/TCP, 80/UDP",
        ),
        (
            "default/both",
            "53",
            "Service default/both has no port 53/TCP",
            "hint: its ports are 80/TCP, 80/UDP",
        ),
        (
            "service/default/none",
            "80",
            "`service/default/none` is no Service that this node serves",
            "hint: proxyctl dump services",
        ),
    ] {
        let words = ["policy", "why", "default/client", to, port];
        let (code, text) = stage.cluster.agent(0).proxyctl_verdict(&words).unwrap();
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(message) && text.contains(hint), "{text}");
    }
}

/// One node's answer is not the whole where the other one has a say: only what nobody else can deny is allowed.
#[test]
fn what_another_node_decides_is_not_said_to_be_allowed() {
    let cluster = Cluster::start("why-nodes", &["a", "b"], &["--map-size", "small"]).unwrap();
    let server = cluster.pod(0, "server").unwrap();
    let client = cluster.pod(1, "client").unwrap();
    cluster.service("web", 10, &[&server], &json!({})).unwrap();
    let closed = json!({
        "podSelector": { "matchLabels": { "app": "server" } },
        "policyTypes": ["Ingress"],
    });
    apply(&cluster, "closed.yaml", &[("closed", closed)]);
    let asked = |node: usize, from: &str, to: &str, port: &str| {
        let why = ["policy", "why", from, to, port];
        cluster.agent(node).proxyctl_verdict(&why).unwrap()
    };
    cluster
        .eventually("the policy to be in force", || {
            let (code, _) = asked(0, "default/client", "default/server", "8080");
            (code == 1).then_some(())
        })
        .unwrap();
    let other = |pod: &Pod| format!("a pod of node {}, which decides", pod.node().name());
    for (to, port) in [("default/server", "8080"), ("default/web", "80")] {
        let (code, text) = asked(1, "default/client", to, port);
        assert_eq!(code, 5, "{text}");
        assert!(
            text.contains("\nUNDECIDED: ") && text.contains(&other(&server)),
            "{text}"
        );
        // What works from where kubectl does, for agents have no rights to ask each other.
        let there = text.lines().last().unwrap();
        assert!(
            there.contains(" but node a must let it pass too; ")
                && there.contains("kubectl weir --all-nodes policy why default/client "),
            "{text}"
        );
        // What is denied here is denied, whatever the other node says.
        let (code, text) = asked(0, "default/client", to, port);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("  egress   undecided "), "{text}");
    }
    let (code, text) = asked(0, "default/server", "default/client", "8080");
    assert_eq!((code, text.contains(&other(&client))), (5, true), "{text}");
    // Nobody decides for nodes, nor for what is no pod.
    for to in [cluster.node(1).ipv4().to_string(), "192.0.2.1".to_owned()] {
        let (code, text) = asked(0, "default/server", &to, "8080");
        assert_eq!(code, 0, "{text}");
    }
    let (code, text) = asked(0, "default/server", "10.244.1.250", "8080");
    assert_eq!(code, 5, "an address of the other node's pods: {text}");
    trace_does_not_either(&cluster);
    another_nodes_node_port(&cluster, &server);
    taken_by_the_node(&cluster, &client);
}

/// The node takes what is sent to the other node's pod, whatever policy says of it.
fn taken_by_the_node(cluster: &Cluster, pod: &Pod) {
    let address = pod.ipv4().to_string();
    let why = ["policy", "why", "default/server", "default/client", "8080"];
    let to = format!("{address}:8080");
    let trace = ["service", "trace", "default/server", &to];
    let warning = format!(
        "warning: this node has {address}, of pod default/client of another node, for its own"
    );
    let said = |words: &[&str]| cluster.agent(0).proxyctl_verdict(words).unwrap();
    assert!(!said(&why).1.contains("warning: ") && !said(&trace).1.contains("warning: "));
    let words = ["ip", "address", "add", &address, "dev", "eth0"];
    cluster.node(0).run(&words).unwrap();
    cluster
        .eventually("the agent to know the node's new address", || {
            let (code, text) = said(&why);
            assert_eq!(code, 5, "{text}");
            text.contains(&warning).then_some(())
        })
        .unwrap();
    let (_, text) = said(&trace);
    assert!(text.contains(&warning), "{text}");
}

/// An address of another node is left alone here: what it meets, that node says.
fn another_nodes_node_port(cluster: &Cluster, server: &Pod) {
    let port = 30_080;
    let ports = json!([
        { "name": "tcp", "protocol": "TCP", "port": 80, "targetPort": 8080, "nodePort": port },
    ]);
    let spec = json!({ "type": "NodePort", "ports": ports });
    cluster.service("outside", 11, &[server], &spec).unwrap();
    let theirs = cluster.node(0).ipv4();
    let said = |port: u16| {
        let to = format!("{theirs}:{port}");
        let trace = ["service", "trace", "default/client", &to];
        cluster.agent(1).proxyctl_verdict(&trace).unwrap()
    };
    let ends = |text: &str, port: u16, what: &str| {
        text.ends_with(&format!(
            "goes to {theirs}:{port} itself, of node a ({what}): what it meets there, kubectl weir --node a service trace says\n"
        ))
    };
    cluster
        .eventually("the NodePort to be known", || {
            let (code, text) = said(port);
            let is_known = ends(&text, port, "NodePort of Service default/outside:tcp");
            (code == 0 && is_known).then_some(())
        })
        .unwrap();
    let (code, text) = said(80);
    assert!(
        code == 0 && ends(&text, 80, "no Service that this node knows"),
        "{text}"
    );
}

fn trace_does_not_either(cluster: &Cluster) {
    let trace = ["service", "trace", "default/client", "10.96.0.10:80"];
    let (code, text) = cluster.agent(1).proxyctl_verdict(&trace).unwrap();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("elsewhere: allowed here, its own node decides too"),
        "{text}"
    );
    assert!(!text.contains("note: "), "{text}");
    let trace = ["service", "trace", "default/client", "default/web:80"];
    let (_, text) = cluster.agent(0).proxyctl_verdict(&trace).unwrap();
    let there = "note: default/client is on node b, and this is what connections meet that come to node a; \
                 what they meet there: kubectl weir --node b service trace default/client default/web:80\n";
    assert!(text.contains(there), "{text}");
}
