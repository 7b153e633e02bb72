//! The agent and its API servers, as a process on a node.

#[path = "agent_servers/refused.rs"]
mod refused;
#[path = "agent_servers/stopped.rs"]
mod stopped;

use std::{
    fs::{self, File},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    core::v1::{Node as ApiNode, Service},
    events::v1::Event,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use nix::sched::{CloneFlags, setns};
use proxy_agent::datapath::Table as _;
use serde_json::json;
use tokio::time::{Instant, sleep};
use weir_tests::{
    controlplane::{ControlPlane, Proxy},
    datapath::reader,
    watched::{PATIENCE, on_a_node, start_agent},
    world::{Node, Process, World, http_get, program, until},
};

const HEALTH: u16 = 10256;

fn health(node: &Node, path: &str) -> Result<(u16, String)> {
    Ok(http_get(node, ([127, 0, 0, 1], HEALTH).into(), path)?)
}

async fn create_service(plane: &ControlPlane, name: &str) -> Result<()> {
    let services = Api::<Service>::default_namespaced(plane.client().await?);
    let object = json!({ "metadata": { "name": name }, "spec": { "ports": [{ "port": 80 }] } });
    let object = serde_json::from_value(object)?;
    services.create(&PostParams::default(), &object).await?;
    Ok(())
}

/// How many frontends of IPv4 there are.
fn frontends(node: &Node) -> Result<usize> {
    Ok(reader(node)?.maps().frontends4.entries()?.len())
}

/// Waits for something while the control plane and its proxies in this process go on.
async fn eventually(
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        let last = check();
        if matches!(last, Ok(true)) {
            return Ok(());
        }
        if Instant::now() > end {
            last.with_context(|| format!("waited {limit:?} for {what}"))?;
            anyhow::bail!("waited {limit:?} for {what}");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Two ways to the API server by the wire; packets of the first are dropped in both directions.
#[test]
fn another_api_server_is_followed_when_packets_are_lost_without_a_word() -> Result<()> {
    let world = World::new("agent-silent")?;
    let node = world.node("a")?;
    let sockets = [6443, 6444].map(|port| world.outside().listen(([172, 30, 0, 1], port).into()));
    let [first, second] = sockets;
    let (first, second) = (first?, second?);
    setns(node.netns(), CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let plane = ControlPlane::start().await?;
        let first = Proxy::listen(&plane, first).await?;
        let second = Proxy::listen(&plane, second).await?;
        let urls = format!("{},{}", first.url(), second.url());
        let agent = start_agent(&node, &plane, &["--api-server", &urls])?;
        eventually("the agent to be ready", PATIENCE, || {
            Ok(health(&node, "/readyz")?.0 == 200)
        })
        .await?;
        let before = frontends(&node)?;
        world.outside().run_with_input(
            &["nft", "-f", "-"],
            "table inet lost {\n\
             chain in { type filter hook input priority 0; tcp dport 6443 drop; }\n\
             chain out { type filter hook output priority 0; tcp sport 6443 drop; }\n}\n",
        )?;
        create_service(&plane, "meanwhile").await?;
        eventually("the new Service", Duration::from_secs(30), || {
            Ok(frontends(&node)? > before)
        })
        .await?;
        agent.terminate().map(drop)
    });
    result.with_context(|| log(&node))
}

fn log(node: &Node) -> String {
    let log = fs::read_to_string(node.file("/run/agent.log")).unwrap_or_default();
    format!("log of the agents:\n{log}")
}

/// Starts an agent with these flags and what any on this node needs.
fn launch(node: &Node, flags: &[&str]) -> Result<Process> {
    Process::start(command(node, flags)?)
}

fn command(node: &Node, flags: &[&str]) -> Result<Command> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(node.file("/run/agent.log"))?;
    let addresses = node.addresses().map(|ip| ip.to_string()).join(",");
    let mut command = node.command(program("proxy-agent")?)?;
    command
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .args(["--node-name", node.name(), "--node-address", &addresses])
        .args(["--pod-cidr", &node.pod_ranges().join(",")])
        .args(["--map-size", "small", "--log-format", "text"])
        .arg("--cgroup-root")
        .arg(node.cgroup_root().path())
        .args(flags)
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(command)
}

#[test]
fn the_agent_does_not_rely_on_the_address_of_a_service() -> Result<()> {
    on_a_node("agent-own-vip", own_vip)
}

/// As in a Pod with a service account and no configured API server.
async fn own_vip(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let folder = node.file("/run/secrets/kubernetes.io/serviceaccount");
    fs::create_dir_all(&folder)?;
    let [certificate, token] = plane.credentials()?;
    fs::write(folder.join("ca.crt"), certificate)?;
    fs::write(folder.join("token"), token)?;
    fs::write(folder.join("namespace"), "kube-system")?;
    let in_pod = |flags: &[&str]| -> Result<Command> {
        let mut command = command(node, flags)?;
        command
            .env("KUBERNETES_SERVICE_HOST", "10.96.0.1")
            .env("KUBERNETES_SERVICE_PORT", "443");
        Ok(command)
    };
    let refused = in_pod(&[])?.stderr(std::process::Stdio::piped()).output()?;
    let text = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(1), "{text}");
    ensure!(
        text.contains("error: clientConnection: no apiServers: https://10.96.0.1/"),
        "{text}"
    );
    ensure!(
        text.contains("\nhint: set clientConnection.apiServers"),
        "{text}"
    );
    let pins = node.run(&["find", "/sys/fs/bpf", "-name", "weir"])?;
    ensure!(pins.is_empty(), "nothing was touched: {pins}");

    // Unless it knows what stands behind the Service.
    let at = plane.forward(node.ipv4().into()).await?;
    let known = json!({ "apiServers": [format!("https://{at}")] });
    fs::write(node.file("/run/weir/api-servers.json"), known.to_string())?;
    let agent = Process::start(in_pod(&[])?)?;
    eventually("the agent to be ready", PATIENCE, || {
        Ok(health(node, "/readyz")?.0 == 200)
    })
    .await?;
    agent.terminate().map(drop)
}

#[test]
fn what_is_known_of_a_node_stays_when_its_object_goes() -> Result<()> {
    on_a_node("agent-deleted", deleted_node)
}

async fn deleted_node(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let nodes = Api::<ApiNode>::all(plane.client().await?);
    for (name, address, range) in [
        ("a", node.ipv4().to_string(), "10.244.1.0/24"),
        ("b", "172.30.0.12".to_owned(), "10.244.2.0/24"),
    ] {
        make_node(&nodes, name, &address, range).await?;
    }
    let agent = start_agent(node, &plane, &[])?;
    let route = "10.244.2.0/24 via 172.30.0.12";
    let routes = || node.run(&["ip", "route", "show", "proto", "87"]);
    until("the route", PATIENCE, || {
        Ok(routes()?.contains(route).then_some(()))
    })?;
    nodes.delete("b", &DeleteParams::default()).await?;
    // Longer than between two looks at the node.
    let end = Instant::now() + Duration::from_secs(13);
    while Instant::now() < end {
        sleep(Duration::from_millis(200)).await;
        ensure!(routes()?.contains(route), "the route is gone");
    }
    agent.terminate().map(drop)
}

async fn make_node(nodes: &Api<ApiNode>, name: &str, address: &str, range: &str) -> Result<()> {
    let object = json!({
        "metadata": { "name": name },
        "spec": { "podCIDR": range, "podCIDRs": [range] },
        "status": { "addresses": [{ "type": "InternalIP", "address": address }] },
    });
    let object: ApiNode = serde_json::from_value(object)?;
    let made = nodes.create(&PostParams::default(), &object).await?;
    let status = ApiNode {
        metadata: made.metadata,
        ..object
    };
    nodes
        .replace_status(name, &PostParams::default(), &status)
        .await?;
    Ok(())
}

#[test]
fn a_range_that_two_nodes_name_is_the_older_ones() -> Result<()> {
    on_a_node("agent-claimed", claimed_twice)
}

async fn claimed_twice(node: &Node) -> Result<()> {
    const RANGE: &str = "10.244.2.0/24";
    let plane = ControlPlane::start().await?;
    let nodes = Api::<ApiNode>::all(plane.client().await?);
    let routes = || node.run(&["ip", "route", "show", "proto", "87"]);
    let leads_to = |gateway: &str| Ok(routes()? == format!("{RANGE} via {gateway} dev eth0 \n"));
    make_node(&nodes, "a", &node.ipv4().to_string(), "10.244.1.0/24").await?;
    make_node(&nodes, "b", "172.30.0.12", RANGE).await?;
    // The API server counts in seconds.
    sleep(Duration::from_millis(1100)).await;
    make_node(&nodes, "0", "172.30.0.99", RANGE).await?;
    // An agent that finds both goes by their age, and one that goes on by what it had.
    let agent = start_agent(node, &plane, &[])?;
    eventually("the route", PATIENCE, || leads_to("172.30.0.12")).await?;
    let note = conflict(&plane, "0").await?;
    let words = "node 0 names 10.244.2.0/24, which node b has: that is not in force";
    ensure!(note == format!("on all nodes: {words}"), "{note}");
    nodes.delete("0", &DeleteParams::default()).await?;
    make_node(&nodes, "1", "172.30.0.98", RANGE).await?;
    conflict(&plane, "1").await?;
    ensure!(leads_to("172.30.0.12")?, "{}", routes()?);

    // The other one has it when that one goes, and the one that is gone nothing any more.
    nodes.delete("b", &DeleteParams::default()).await?;
    eventually("another route", PATIENCE, || leads_to("172.30.0.98")).await?;
    agent.terminate().map(drop)
}

#[test]
fn nodes_with_one_key_are_named() -> Result<()> {
    on_a_node("agent-one-key", one_key)
}

/// On a kernel with WireGuard as on one without: it is told by what Nodes show.
async fn one_key(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    let nodes = Api::<ApiNode>::all(plane.client().await?);
    make_node(&nodes, "a", &node.ipv4().to_string(), "10.244.1.0/24").await?;
    let key = json!({ "metadata": { "annotations": {
        "weir.dev/wireguard-public-key": "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
    } } });
    for (name, address, range) in [
        ("b", "172.30.0.12", "10.244.2.0/24"),
        ("c", "172.30.0.13", "10.244.3.0/24"),
    ] {
        make_node(&nodes, name, address, range).await?;
        let params = PatchParams::default();
        nodes.patch(name, &params, &Patch::Merge(&key)).await?;
    }
    let agent = start_agent(node, &plane, &["--encryption", "wireguard"])?;
    for (name, other) in [("b", "c"), ("c", "b")] {
        let note = conflict(&plane, name).await?;
        let words = format!(
            "on all nodes: node {name} has published the WireGuard key of node {other}: none of them is reached; each makes itself a new \
             one"
        );
        ensure!(note == words, "{note}");
    }
    agent.terminate().map(drop)
}

/// The note of the Event of a Node that names what another one has.
async fn conflict(plane: &ControlPlane, node: &str) -> Result<String> {
    let events = Api::<Event>::all(plane.client().await?);
    let end = Instant::now() + PATIENCE;
    loop {
        let all = events.list(&ListParams::default()).await?.items;
        let found = all.into_iter().find(|event| {
            let about = event.regarding.as_ref();
            let name = about.and_then(|about| about.name.as_deref());
            name == Some(node) && event.reason.as_deref() == Some("NodeConflict")
        });
        if let Some(event) = found {
            return event.note.context("an Event without a note");
        }
        ensure!(Instant::now() < end, "no Event of {node}");
        sleep(Duration::from_millis(100)).await;
    }
}
