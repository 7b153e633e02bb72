//! Load balancers' addresses from the API server to the client: agents as processes on two nodes, with the rights that `deploy/`
//! gives.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir_tests::{
    controlplane::{ControlPlane, Proxy},
    watched::PATIENCE,
    world::{Node, Process, Server, World, ask_tcp, program},
};

const VIP: &str = "172.30.0.200";
const CONFIG: &str = "
apiVersion: weir.dev/v1alpha1
kind: AgentConfiguration
loadBalancer: { defaultClass: true, pools: [{ name: lan, addresses: [172.30.0.200/32] }] }
";
const NODES: &str = r"
apiVersion: v1
kind: Node
metadata: { name: b }
";

/// Both nodes, and an API server that they reach by the fabric.
struct Stage {
    plane: ControlPlane,
    proxy: Proxy,
    nodes: [Node; 2],
    world: World,
}

impl Stage {
    fn agent(&self, node: &Node, config: &Path, kubeconfig: &Path) -> Result<Process> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(node.file("/run/agent.log"))?;
        let addresses = node.addresses().map(|ip| ip.to_string()).join(",");
        let mut command = node.command(program("proxy-agent")?)?;
        command
            .args(["--node-name", node.name(), "--node-address", &addresses])
            .args(["--pod-cidr", &node.pod_ranges().join(",")])
            .args(["--map-size", "small", "--log-format", "text"])
            .args(["--api-server", &self.proxy.url()])
            .arg("--config")
            .arg(config)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .arg("--cgroup-root")
            .arg(node.cgroup_root().path())
            .stdout(log.try_clone()?)
            .stderr(log);
        Process::start(command)
    }

    /// A Service in front of a server of the second node.
    async fn serve(&self, name: &str) -> Result<()> {
        let client = self.plane.client().await?;
        let service = json!({
            "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 80, "targetPort": 8080 }] },
        });
        let slice = json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
            "addressType": "IPv4",
            "ports": [{ "port": 8080 }],
            "endpoints": [{
                "addresses": [self.nodes[1].addresses()[0]],
                "conditions": { "ready": true },
                "nodeName": "b",
            }],
        });
        let params = PostParams::default();
        let (service, slice) = (
            serde_json::from_value(service)?,
            serde_json::from_value(slice)?,
        );
        Api::<Service>::default_namespaced(client.clone())
            .create(&params, &service)
            .await?;
        Api::<EndpointSlice>::default_namespaced(client)
            .create(&params, &slice)
            .await?;
        Ok(())
    }

    fn proxyctl(&self, node: usize, words: &[&str]) -> Result<String> {
        let mut command = self.nodes[node].command(program("proxyctl")?)?;
        let output = command.args(words).output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The row of a node's status.
    fn row(&self, node: usize) -> Result<String> {
        let text = self.proxyctl(node, &["status"])?;
        let from = text.find("Addresses").context("no row")?;
        Ok(text[from..].to_owned())
    }

    fn asked(&self) -> Option<String> {
        let to = SocketAddr::new(VIP.parse().ok()?, 80);
        ask_tcp(self.world.outside(), to)
            .ok()
            .map(|answer| answer.name)
    }

    async fn event(&self, reason: &str) -> Result<Option<String>> {
        let events = Api::<Event>::all(self.plane.client().await?);
        let all = events.list(&ListParams::default()).await?.items;
        let mut all = all.into_iter();
        let found = all.find(|event| event.reason.as_deref() == Some(reason));
        Ok(found.and_then(|event| event.note))
    }

    fn logs(&self) -> String {
        let logs = self.nodes.iter().map(|node| {
            let log = fs::read_to_string(node.file("/run/agent.log")).unwrap_or_default();
            format!("log of the agent of {}:\n{log}\n", node.name())
        });
        logs.collect()
    }
}

/// Waits while the control plane and its proxy in this process go on.
async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check().await.with_context(|| what.to_owned())? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {PATIENCE:?} for {what}");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_service_is_given_an_address_and_reached_by_it() -> Result<()> {
    let world = World::new("agent-pools")?;
    let nodes = [world.node("a")?, world.node("b")?];
    let socket = world.outside().listen(([172, 30, 0, 1], 6443).into())?;
    setns(nodes[0].netns(), CloneFlags::CLONE_NEWNET)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let plane = ControlPlane::start().await?;
        let proxy = Proxy::listen(&plane, socket).await?;
        let stage = Stage {
            plane,
            proxy,
            nodes,
            world,
        };
        let result = given(&stage).await;
        result.with_context(|| stage.logs())
    })
}

async fn given(stage: &Stage) -> Result<()> {
    let kubeconfig = stage.plane.agents_kubeconfig().await?;
    stage.plane.apply(NODES).await?;
    stage.plane.deploy("load-balancer.yaml").await?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    fs::write(&config, CONFIG)?;
    let start = |node: &Node| stage.agent(node, &config, &kubeconfig);
    let [mut on_a, mut on_b] = [start(&stage.nodes[0])?, start(&stage.nodes[1])?].map(Some);
    let at = SocketAddr::new(stage.nodes[1].addresses()[0], 8080);
    let _server = Server::tcp(&stage.nodes[1], at, "served")?;
    stage.serve("web").await?;
    let asked = eventually("the client to be served", async || Ok(stage.asked())).await?;
    ensure!(asked == "served", "{asked}");
    let leads = |row: &str| {
        row.contains("given by a")
            .then_some("a")
            .or_else(|| row.contains("given by b").then_some("b"))
            .map(str::to_owned)
    };
    let leader = eventually("the one that gives", async || {
        let rows = [stage.row(0)?, stage.row(1)?];
        Ok(leads(&rows[0]).filter(|leader| leads(&rows[1]).as_ref() == Some(leader)))
    })
    .await?;

    // There is one address only: an Event of the Service, and a line of the status.
    stage.serve("late").await?;
    let note = eventually("an Event", async || stage.event("AddressesExhausted").await).await?;
    ensure!(note.contains("no IPv4 address is free in lan"), "{note}");
    let leads_a = leader == "a";
    let row = stage.row(usize::from(!leads_a))?;
    ensure!(
        row.contains("Service default/late: no IPv4 address is free in lan"),
        "{row}"
    );

    // Who answers is told alike by both. Its agent ends: the other node answers.
    let both = async || {
        let rows = [stage.row(0)?, stage.row(1)?];
        let by = |name: &str| format!("{VIP} default/web by {name} on eth0");
        Ok(["a", "b"]
            .into_iter()
            .find(|name| rows.iter().all(|row| row.contains(&by(name)))))
    };
    let answers = eventually("both to elect one", both).await?;
    let list = stage.proxyctl(0, &["dump", "addresses", "-o", "json"])?;
    let list: Value = serde_json::from_str(&list).context(list)?;
    let item = &list["items"][0];
    let announced = json!([{ "link": "eth0", "node": answers }]);
    ensure!(
        item["address"] == VIP && item["announced"] == announced,
        "{list}"
    );
    let (gone, other) = if answers == "a" {
        (&mut on_a, 1)
    } else {
        (&mut on_b, 0)
    };
    gone.take().context("it runs")?.terminate()?;
    let name = stage.nodes[other].name().to_owned();
    eventually("the other one to answer", async || {
        let row = stage.row(other)?;
        Ok((row.contains(&format!("by {name} on eth0")) && stage.asked().is_some()).then_some(()))
    })
    .await?;

    // What is given back goes to who waits, whoever gives by now.
    let services = Api::<Service>::default_namespaced(stage.plane.client().await?);
    services.delete("web", &DeleteParams::default()).await?;
    eventually("the address to be another's", async || {
        let late = services.get("late").await?;
        let ingress = late.status.and_then(|status| status.load_balancer?.ingress);
        Ok(ingress.filter(|ingress| ingress.iter().any(|one| one.ip.as_deref() == Some(VIP))))
    })
    .await?;
    eventually("the client to be served again", async || Ok(stage.asked())).await?;
    for process in [on_a, on_b].into_iter().flatten() {
        process.terminate()?;
    }
    Ok(())
}
