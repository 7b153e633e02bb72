//! A policy for which a map has no room, from the API server to the packet: its pods are denied, everybody who asks is told
//! by name, and nobody else notices.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{core::v1::Pod as ApiPod, events::v1::Event, networking::v1::NetworkPolicy};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};
use weir_tests::{
    controlplane::ControlPlane,
    watched::{PATIENCE, on_a_node, ready, start_agent},
    world::{Node, Plugin, Pod, Process, Server, ask_tcp, http_get, program, until},
};

const PORT: u16 = 8080;
/// Room for one list of 100 ports.
const BLOCKS: &str = "maps.intervals=8";
/// No map may grow.
const MEMORY: &str = "maps.memory=1";

/// An API server, an agent that has the rights of `deploy/` and small maps, and pods.
struct Stage<'a> {
    plane: ControlPlane,
    node: &'a Node,
    agent: Process,
    client: Pod,
}

impl<'a> Stage<'a> {
    async fn set(node: &'a Node) -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let kubeconfig = plane.agents_kubeconfig().await?;
        let plugin = program("cni-plugin")?;
        let flags = [
            ["--kubeconfig", kubeconfig.to_str().context("a path")?],
            ["--cni-install", "true"],
            ["--cni-plugin", plugin.to_str().context("a path")?],
            ["--cni-bin-dir", "/run/cni/bin"],
            ["--cni-conf-dir", "/run/cni/net.d"],
            ["--set", BLOCKS],
            ["--set", MEMORY],
        ];
        let agent = start_agent(node, &plane, &flags.concat())?;
        ready(node)?;
        let client = pod(&plane, node, "client").await?;
        Ok(Self {
            plane,
            node,
            agent,
            client,
        })
    }

    async fn pod(&self, name: &str) -> Result<Served> {
        let pod = pod(&self.plane, self.node, name).await?;
        let serve = |address: SocketAddr| Server::tcp(&pod, address, name);
        let servers = [serve(pod.at(PORT)[0])?, serve(pod.at(PORT)[1])?];
        Ok(Served { pod, servers })
    }

    async fn policy(&self, name: &str, pod: &str, ports: &[u16]) -> Result<String> {
        let ports: Vec<Value> = ports.iter().map(|port| json!({ "port": port })).collect();
        let policy = json!({
            "metadata": { "name": name },
            "spec": {
                "podSelector": { "matchLabels": { "app": pod } },
                "policyTypes": ["Ingress"],
                "ingress": [{ "ports": ports }],
            },
        });
        let made = self
            .policies()
            .await?
            .create(&PostParams::default(), &serde_json::from_value(policy)?)
            .await?;
        made.uid().context("no UID")
    }

    async fn policies(&self) -> Result<Api<NetworkPolicy>> {
        Ok(Api::default_namespaced(self.plane.client().await?))
    }

    async fn remove(&self, policy: &str) -> Result<()> {
        let policies = self.policies().await?;
        policies.delete(policy, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Whether the client reaches a pod by both families, or by neither; none if policy is just changing.
    fn reaches(&self, to: &Served) -> Option<bool> {
        let [v4, v6] = to
            .servers
            .each_ref()
            .map(|server| ask_tcp(&self.client, server.address()).is_ok());
        (v4 == v6).then_some(v4)
    }

    fn until_reached(&self, to: &Served, expected: bool) -> Result<()> {
        until("policy to be in force", PATIENCE, || {
            Ok((self.reaches(to) == Some(expected)).then_some(()))
        })
    }

    fn proxyctl(&self, words: &[&str]) -> Result<(i32, String)> {
        let output = self
            .node
            .command(program("proxyctl")?)?
            .args(words)
            .output()?;
        let code = output.status.code().context("killed")?;
        Ok((code, String::from_utf8(output.stdout)?))
    }

    /// Waits until `proxyctl` says all of this; gives its exit code.
    fn until_told(&self, words: &[&str], told: &[&str]) -> Result<i32> {
        until(&format!("proxyctl {words:?}"), PATIENCE, || {
            let (code, text) = self.proxyctl(words)?;
            ensure!(told.iter().all(|what| text.contains(what)), "{text}");
            Ok(Some(code))
        })
    }

    fn get(&self, port: u16, path: &str) -> Result<String> {
        Ok(http_get(self.node, ([127, 0, 0, 1], port).into(), path)?.1)
    }

    /// Events of policies.
    async fn events(&self) -> Result<Vec<Event>> {
        let events = Api::<Event>::default_namespaced(self.plane.client().await?);
        let all = events.list(&ListParams::default()).await?.items;
        let of_policy = |event: &Event| {
            let regarding = event.regarding.as_ref();
            regarding.is_some_and(|about| about.kind.as_deref() == Some("NetworkPolicy"))
        };
        Ok(all.into_iter().filter(of_policy).collect())
    }
}

/// A pod that serves on [`PORT`].
struct Served {
    pod: Pod,
    servers: [Server; 2],
}

async fn pod(plane: &ControlPlane, node: &Node, name: &str) -> Result<Pod> {
    let pods = Api::<ApiPod>::default_namespaced(plane.client().await?);
    let object = json!({
        "metadata": { "name": name, "labels": { "app": name.trim_end_matches("-late") } },
        "spec": { "nodeName": node.name(), "containers": [{ "name": "main", "image": "none" }] },
    });
    let object = serde_json::from_value(object)?;
    let made = pods.create(&PostParams::default(), &object).await?;
    let plugin = Plugin::weir()?.with_uid(made.metadata.uid.context("no UID")?);
    node.pod(&plugin, name)
}

/// So many ports, no two of them neighbours, [`PORT`] among them.
fn ports(count: u16) -> Vec<u16> {
    (0..count).map(|n| PORT + 2 * n).collect()
}

#[test]
fn a_policy_without_room_is_told_by_name_and_denies_its_pods_only() -> Result<()> {
    on_a_node("agent-limits", without_room)
}

async fn without_room(node: &Node) -> Result<()> {
    let stage = Stage::set(node).await?;
    let (open, shut) = (stage.pod("open").await?, stage.pod("shut").await?);
    ensure!([&open, &shut].map(|pod| stage.reaches(pod)) == [Some(true); 2]);
    stage.policy("fits", "open", &[PORT]).await?;
    let uid = stage.policy("huge", "shut", &ports(400)).await?;
    stage.until_reached(&shut, false)?;
    ensure!(stage.reaches(&open) == Some(true), "nobody else notices");

    // By name: the status, `why`, a metric and an Event.
    let why = ["policy", "why", "default/client", "default/shut", "8080"];
    let refused = ["NetworkPolicy default/huge was refused: INTERVALS has no room"];
    let code = stage.until_told(&why, &refused)?;
    ensure!(code == 1, "{why:?}: {code}");
    let no_room = "NetworkPolicy default/huge: INTERVALS has no room";
    let denied = "denied meanwhile: ingress of default/shut";
    stage.until_told(&["status"], &[no_room, denied])?;
    stage.until_told(&["dump", "policy"], &["refused"])?;
    until("the metric", PATIENCE, || {
        Ok(stage
            .get(10249, "/metrics")?
            .contains("weir_policies_refused 1")
            .then_some(()))
    })?;
    let events = event(&stage, "huge").await?;
    let regarding = events.regarding.as_ref().context("about what?")?;
    ensure!(regarding.uid.as_ref() == Some(&uid), "{events:?}");
    let note = events.note.as_deref().unwrap_or_default();
    ensure!(
        events.type_.as_deref() == Some("Warning")
            && events.reason.as_deref() == Some("NotProgrammed")
            && events.reporting_instance.as_deref() == Some("a")
            && note.starts_with("on node a: INTERVALS has no room")
            && note.ends_with("ingress of default/shut"),
        "{events:?}"
    );

    // A pod of that policy starts, and is denied from the first packet. The node is healthy.
    let late = stage.pod("shut-late").await?;
    ensure!([&late, &open].map(|pod| stage.reaches(pod)) == [Some(false), Some(true)]);
    ready(node)?;
    ensure!(stage.get(10256, "/healthz").is_ok());
    // Out of it the pod may begin what it likes: only ingress is isolated.
    ensure!(ask_tcp(&late.pod, open.servers[0].address()).is_ok());

    stage.remove("huge").await?;
    stage.until_reached(&shut, true)?;
    stage.until_reached(&late, true)?;
    room_again(&stage, &open, &shut).await?;
    let names: BTreeSet<_> = stage
        .events()
        .await?
        .into_iter()
        .map(|e| e.regarding.and_then(|r| r.name))
        .collect();
    let expected = ["huge", "second"].map(|name| Some(name.to_owned()));
    ensure!(names == BTreeSet::from(expected), "{names:?}");
    ensure!(stage.events().await?.len() == 2, "each is written once");
    stage.agent.terminate().map(drop)
}

/// Two of which either would fit: when the first goes the second takes its place, in the same process.
async fn room_again(stage: &Stage<'_>, open: &Served, shut: &Served) -> Result<()> {
    stage.remove("fits").await?;
    stage.policy("first", "open", &ports(100)).await?;
    until("the first", PATIENCE, || {
        let (_, text) = stage.proxyctl(&["dump", "policy"])?;
        Ok(text.contains("default/first ingress[0]").then_some(()))
    })?;
    stage.policy("second", "shut", &ports(100)).await?;
    stage.until_reached(shut, false)?;
    event(stage, "second").await?;
    ensure!(stage.reaches(open) == Some(true));
    stage.remove("first").await?;
    stage.until_reached(shut, true)?;
    let why = ["policy", "why", "default/client", "default/shut"];
    let allowed = [&why[..], &["8080"]].concat();
    let code = stage.until_told(&allowed, &["default/second ingress[0]"])?;
    ensure!(code == 0, "{allowed:?}: {code}");
    let (code, text) = stage.proxyctl(&[&why[..], &["8081"]].concat())?;
    ensure!(code == 1, "{text}");
    until("the metric", PATIENCE, || {
        Ok(stage
            .get(10249, "/metrics")?
            .contains("weir_policies_refused 0")
            .then_some(()))
    })
}

/// The one Event of a policy, once it is there.
async fn event(stage: &Stage<'_>, policy: &str) -> Result<Event> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let of_it = |event: &Event| {
            let about = event
                .regarding
                .as_ref()
                .and_then(|about| about.name.as_deref());
            about == Some(policy)
        };
        if let Some(event) = stage.events().await?.into_iter().find(of_it) {
            return Ok(event);
        }
        ensure!(tokio::time::Instant::now() < end, "no Event of {policy}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
