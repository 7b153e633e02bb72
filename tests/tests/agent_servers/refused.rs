//! Each kind that the agent may not read, in turn: what can work works, and it is said what does not. Of network
//! policies and nodes there are tests of their own, which look deeper.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node as ApiNode, NodeCondition, Pod};
use kube::{Api, api::PostParams};
use proxy_agent::datapath::Table as _;
use serde_json::json;
use tokio::time::Instant;
use weir_tests::{
    controlplane::ControlPlane,
    datapath::reader,
    watched::{PATIENCE, on_a_node, ready},
    world::{Node, Plugin, program, until},
};

use super::{create_service, frontends, health, launch};

/// All that the agent reads, by kind: group and resource; and whether Services are served without it.
const KINDS: [(&str, &str, &str, bool); 6] = [
    ("EndpointSlice", "discovery.k8s.io", "endpointslices", false),
    ("Service", "", "services", false),
    ("Pod", "", "pods", true),
    ("Namespace", "", "namespaces", true),
    (
        "NetworkPolicy",
        "networking.k8s.io",
        "networkpolicies",
        true,
    ),
    ("Node", "", "nodes", true),
];

/// Those that this test takes away.
const REFUSED: usize = 4;

/// What a cluster has in any case.
const OBJECTS: &str = "
apiVersion: v1
kind: Node
metadata: { name: a }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: default }
";

/// User `limited` may read all kinds but these.
async fn limit(plane: &ControlPlane, without: &[&str]) -> Result<()> {
    plane.apply(OBJECTS).await?;
    plane.apply(&role(without)).await?;
    plane.grant("limited").await
}

fn role(without: &[&str]) -> String {
    let kinds = KINDS.iter().filter(|(kind, ..)| !without.contains(kind));
    let rules: Vec<String> = kinds
        .map(|(_, group, resource, _)| {
            format!(
                "  - {{ apiGroups: [\"{group}\"], resources: [{resource}], verbs: [get, list, watch] }}\n"
            )
        })
        .collect();
    let rules = rules.concat();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{ name: limited }}\nrules:\n\
         \x20 - {{ apiGroups: [networking.k8s.io], resources: [servicecidrs], verbs: [list, watch] }}\n\
         \x20 - {{ apiGroups: [\"\"], resources: [nodes/status], verbs: [patch] }}\n{rules}"
    )
}

#[test]
fn whichever_kind_is_refused_what_can_work_works() -> Result<()> {
    on_a_node("agent-each-refused", each)
}

async fn each(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    limit(&plane, &[]).await?;
    let kubeconfig = plane.limited_kubeconfig()?;
    let flags = ["--kubeconfig", kubeconfig.to_str().context("a path")?];
    for (kind, _, resource, serves) in &KINDS[..REFUSED] {
        plane.apply(&role(&[kind])).await?;
        let before = frontends(node).unwrap_or(0);
        let agent = launch(node, &flags)?;
        create_service(&plane, &format!("without-{resource}")).await?;
        until(&format!("{kind} to be named"), PATIENCE, || {
            let (code, text) = health(node, "/readyz")?;
            let named = format!("list of {kind}\n");
            ensure!(code == 503 && text.contains(&named), "{text}");
            let status = node.command(program("proxyctl")?)?.arg("status").output()?;
            let status = String::from_utf8(status.stdout)?;
            let words = [format!("{kind}: {resource}"), "forbidden".to_owned()];
            ensure!(words.iter().all(|word| status.contains(word)), "{status}");
            Ok(Some(()))
        })?;
        if *serves {
            until(&format!("a Service, without {kind}"), PATIENCE, || {
                Ok((frontends(node)? > before).then_some(()))
            })?;
        }
        for path in ["/healthz", "/livez"] {
            let (code, text) = health(node, path)?;
            ensure!(code == 200, "without {kind}: {path}: {text}");
        }
        plane.apply(&role(&[])).await?;
        ready(node).with_context(|| format!("{kind} is allowed again"))?;
        until(&format!("the Service, with {kind}"), PATIENCE, || {
            Ok((frontends(node)? > before).then_some(()))
        })?;
        agent.terminate()?;
    }
    Ok(())
}

#[test]
fn a_kind_that_is_refused_stops_nothing_else() -> Result<()> {
    on_a_node("agent-refused", refused)
}

async fn refused(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    limit(&plane, &["NetworkPolicy"]).await?;
    let kubeconfig = plane.limited_kubeconfig()?;
    let plugin = program("cni-plugin")?;
    let flags = [
        ["--kubeconfig", kubeconfig.to_str().context("a path")?],
        ["--cni-install", "true"],
        ["--cni-plugin", plugin.to_str().context("a path")?],
        ["--cni-bin-dir", "/run/cni/bin"],
        ["--cni-conf-dir", "/run/cni/net.d"],
    ];
    let agent = launch(node, &flags.concat())?;
    create_service(&plane, "served").await?;
    until("the Service", PATIENCE, || {
        Ok((frontends(node)? >= 2).then_some(()))
    })?;
    until("the plugin to be installed", PATIENCE, || {
        Ok(node
            .file("/run/cni/net.d/05-weir.conflist")
            .exists()
            .then_some(()))
    })?;
    ensure!(
        node.file("/run/weir/node.json").exists(),
        "pods can be wired"
    );
    until("the agent to be healthy", PATIENCE, || {
        for path in ["/healthz", "/livez"] {
            let (code, text) = health(node, path)?;
            ensure!(code == 200, "{path}: {text}");
        }
        Ok(Some(()))
    })?;
    let nodes = Api::<ApiNode>::all(plane.client().await?);
    let is_available = |c: &NodeCondition| c.type_ == "NetworkUnavailable" && c.status == "False";
    let (mut conditions, end) = (Vec::new(), Instant::now() + PATIENCE);
    while !conditions.iter().any(is_available) {
        ensure!(Instant::now() < end, "{conditions:?}");
        let status = nodes.get("a").await?.status;
        conditions = status.and_then(|s| s.conditions).unwrap_or_default();
    }
    // It says what it lacks, and why.
    until("all else to be done", PATIENCE, || {
        let (code, text) = health(node, "/readyz")?;
        ensure!(
            code == 503 && text.ends_with("\r\n\r\nlist of NetworkPolicy\n"),
            "{text}"
        );
        Ok(Some(()))
    })?;
    until("the status to name the kind", PATIENCE, || {
        let status = node.command(program("proxyctl")?)?.arg("status").output()?;
        let status = String::from_utf8(status.stdout)?;
        let words = ["NetworkPolicy: networkpolicies", "forbidden"];
        ensure!(words.iter().all(|word| status.contains(word)), "{status}");
        Ok(Some(()))
    })?;

    // What a pod may do is not known: it does not start. Hosts' pods and Services do not mind.
    let pods = Api::<Pod>::default_namespaced(plane.client().await?);
    let object = json!({
        "metadata": { "name": "web" },
        "spec": { "nodeName": "a", "containers": [{ "name": "main", "image": "none" }] },
    });
    let object = serde_json::from_value(object)?;
    let made = pods.create(&PostParams::default(), &object).await?;
    let plugin = Plugin::weir()?.with_uid(made.metadata.uid.context("no UID")?);
    let refused = node.pod(&plugin, "web").err().context("it was started")?;
    let text = format!("{refused:#}");
    ensure!(
        text.contains("policy of pod default/web is not in force"),
        "{text}"
    );

    limit(&plane, &[]).await?;
    ready(node)?;
    node.run(&["ip", "netns", "del", "web"])?;
    drop(node.pod(&plugin, "web")?);
    agent.terminate().map(drop)
}

#[test]
fn services_are_served_though_nodes_are_refused() -> Result<()> {
    on_a_node("agent-no-nodes", without_nodes)
}

async fn without_nodes(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    limit(&plane, &["Node", "NetworkPolicy"]).await?;
    let kubeconfig = plane.limited_kubeconfig()?;
    let kubeconfig = kubeconfig.to_str().context("a path")?;
    let agent = launch(node, &["--kubeconfig", kubeconfig])?;
    create_service(&plane, "served").await?;
    until("the Service", PATIENCE, || {
        Ok((frontends(node)? >= 2).then_some(()))
    })?;
    // Whatever is needed of the node itself is configured.
    until("the node's address", PATIENCE, || {
        let config = reader(node)?.maps().node_config.get(&0)?;
        Ok(config.filter(|config| config.address4 != 0).map(drop))
    })?;
    let (code, text) = health(node, "/readyz")?;
    ensure!(code == 503 && text.contains("list of Node\n"), "{text}");
    agent.terminate().map(drop)
}
