//! Each kind that the agent may not read, in turn: what can work works, and it is said what does not. Of network
//! policies and nodes there are tests of their own, which look deeper.

use anyhow::{Context as _, Result, ensure};
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, on_a_node, ready},
    world::{Node, program, until},
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

/// What is there in any case.
const OBJECTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: limited }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: limited }
subjects: [{ kind: User, name: limited, apiGroup: rbac.authorization.k8s.io }]
---
apiVersion: v1
kind: Node
metadata: { name: a }
";

/// May read all kinds but one.
fn role(without: &str) -> String {
    let kinds = KINDS.iter().filter(|(kind, ..)| *kind != without);
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
    plane.apply(OBJECTS).await?;
    let kubeconfig = plane.limited_kubeconfig()?;
    let flags = ["--kubeconfig", kubeconfig.to_str().context("a path")?];
    for (kind, _, resource, serves) in &KINDS[..REFUSED] {
        plane.apply(&role(kind)).await?;
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
        plane.apply(&role("none")).await?;
        ready(node).with_context(|| format!("{kind} is allowed again"))?;
        until(&format!("the Service, with {kind}"), PATIENCE, || {
            Ok((frontends(node)? > before).then_some(()))
        })?;
        agent.terminate()?;
    }
    Ok(())
}
