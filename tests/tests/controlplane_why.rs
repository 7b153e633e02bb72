//! Other nodes, asked through a real API server by the rights of whoever asks: `policy why --all-nodes`, and any verb by
//! `kubectl weir`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "controlplane_why/connectivity.rs"]
mod connectivity;
#[path = "controlplane_why/plugin.rs"]
mod plugin;
#[path = "controlplane_why/stage.rs"]
mod stage;

use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};
use stage::{Stage, apply, said};
use weir_tests::world::{Pod, program};

#[tokio::test(flavor = "multi_thread")]
async fn both_nodes_of_a_flow_are_asked() -> Result<()> {
    let mut stage = Stage::set().await?;
    for (to, port) in [("default/server", "8080"), ("default/web", "80")] {
        let (code, text, told) = stage.why(&["default/client", to, port]).await;
        assert_eq!((code, told.as_str()), (1, ""), "{text}{told}");
        assert!(
            text.contains(" on node a: the pod is isolated and no rule allows this peer")
                && text.contains(" on node b: no policy isolates the pod for egress")
                && text.contains("    isolated by default/closed\n")
                && text.ends_with("\nDENIED\n"),
            "{text}"
        );
        let (code, text, told) = stage.why(&["default/friend", to, port]).await;
        assert_eq!(code, 0, "{text}{told}");
        assert!(
            text.contains("rule default/closed ingress[0] allows every port")
                && text.ends_with("\nALLOWED\n"),
            "{text}"
        );
    }
    by_addresses_and_for_programs(&stage).await;
    errors_of_other_nodes_are_told(&stage).await;
    rights_are_those_of_whoever_asks(&stage).await;
    plugin::works(&stage).await;
    connectivity::cleans_up(&stage).await;
    // A node that cannot be asked leaves its side open.
    stage.kubelets.remove(0);
    let (code, text, told) = stage
        .why(&["default/friend", "default/server", "8080"])
        .await;
    assert_eq!(code, 5, "{text}{told}");
    assert!(
        text.contains("node a was not asked: ") && text.contains("\nUNDECIDED: "),
        "{text}"
    );
    assert!(!text.contains("or with --all-nodes"), "{text}");
    plugin::goes_on_without_a_node(&stage).await;
    Ok(())
}

async fn by_addresses_and_for_programs(stage: &Stage) {
    let ips: Vec<_> = stage.pods.iter().map(Pod::addresses).collect();
    for family in [0, 1] {
        let (from, to) = (ips[1][family].to_string(), ips[0][family].to_string());
        let (code, text, told) = stage.why(&[&from, &to, "8080/udp", "-o", "json"]).await;
        assert_eq!(code, 1, "{text}{told}");
        let why: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&why["kind"], &why["verdict"]),
            (&json!("PolicyWhy"), &json!("denied"))
        );
        let steps = &why["paths"][0]["steps"];
        let nodes = (&steps[0]["node"], &steps[1]["node"]);
        assert_eq!(nodes, (&json!("b"), &json!("a")), "{why}");
    }
    // From a node, which no policy is about.
    let node = stage.cluster.node(1).ipv4().to_string();
    let server = ips[0][0].to_string();
    let (code, text, told) = stage.why(&[&node, &server, "8080"]).await;
    assert_eq!(code, 1, "{text}{told}");
}

async fn errors_of_other_nodes_are_told(stage: &Stage) {
    for (from, to, port, wanted) in [
        (
            "default/client",
            "service/default/web",
            "81",
            "error: node b: Service default/web has no port 81/TCP\nhint: its ports are 80/TCP, 80/UDP\n",
        ),
        (
            "default/nobody",
            "default/client",
            "80",
            "error: node b: `default/nobody` is no address, and no pod or node that the agent knows\n\
             hint: write an address, namespace/pod or node/name; names need a running agent\n",
        ),
        (
            "default/client",
            "default/server",
            "http",
            "error: `http` is no number of a port (1 to 65535)\nhint: for example 80, 53/udp or 5060/sctp\n",
        ),
        (
            "default/client",
            "default/server",
            "99999",
            "error: `99999` is no number of a port (1 to 65535)\nhint: for example 80, 53/udp or 5060/sctp\n",
        ),
    ] {
        let (code, text, told) = stage.why(&[from, to, port]).await;
        assert_eq!((code, text.as_str()), (2, ""), "{told}");
        assert_eq!(told, wanted);
    }
}

async fn rights_are_those_of_whoever_asks(stage: &Stage) {
    let kubeconfig = stage.plane.limited_kubeconfig().unwrap();
    let limited = || {
        let mut command = Command::new(program("proxyctl").unwrap());
        command.args(["policy", "why", "--all-nodes", "--kubeconfig"]);
        command
            .arg(&kubeconfig)
            .args(["default/client", "default/server", "8080"]);
        command
    };
    let hint = "hint: asking other nodes needs list of pods, and get and create of pods/exec in kube-system";
    let (code, text, told) = said(limited()).await;
    assert_eq!((code, text.as_str()), (3, ""), "{told}");
    assert!(told.contains(hint), "{told}");
    // Who may see pods may not yet run anything in them.
    let rights = json!([
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": "see" },
            "rules": [{ "apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list"] }],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "see" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "see" },
            "subjects": [{ "kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io" }],
        },
    ]);
    let rights = rights.as_array().unwrap();
    apply(&stage.plane, rights).await.unwrap();
    let (code, text, told) = said(limited()).await;
    assert_eq!((code, text.as_str()), (3, ""), "{told}");
    assert!(told.contains(hint), "{told}");
}
