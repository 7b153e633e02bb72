//! The agent is killed in the middle of a thousand Services that a real API server gives it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    core::v1::{Pod as ApiPod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Client,
    api::{Api, Patch, PatchParams, PostParams},
};
use proxy_agent::{
    datapath::Table as _,
    service::{ServiceTables, render::services},
};
use serde_json::json;
use weir_tests::{
    controlplane::ControlPlane,
    datapath::reader,
    watched::{PATIENCE, on_a_node, ready, start_agent},
    world::{Node, Place, Plugin, Pod, Process, Server, Talk, ask_tcp, ask_udp, program, until},
};

const SERVICES: usize = 1000;
const VIP: &str = "10.96.0.10:80";

const OBJECTS: &str = r"
apiVersion: v1
kind: Node
metadata: { name: a }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: default }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: only-client, namespace: default }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Ingress]
  ingress: [{ from: [{ podSelector: { matchLabels: { app: client } } }] }]
";

/// A pod in the API server, wired by the plugin as its runtime would.
async fn pod(client: &Client, node: &Node, name: &str) -> Result<Pod> {
    let pods = Api::<ApiPod>::namespaced(client.clone(), "default");
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "nodeName": node.name(), "containers": [{ "name": "main", "image": "none" }] },
    });
    let made = pods
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?;
    let uid = made.metadata.uid.context("no UID")?;
    let pod = node.pod(&Plugin::weir()?.with_uid(uid), name)?;
    let ips: Vec<_> = pod
        .addresses()
        .iter()
        .map(|ip| json!({ "ip": ip }))
        .collect();
    let status = json!({ "status": { "phase": "Running", "podIP": pod.ipv4(), "podIPs": ips } });
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(pod)
}

/// A Service of one port, with its slice.
async fn service(client: &Client, name: &str, vip: Ipv4Addr, backends: &[Ipv4Addr]) -> Result<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "clusterIP": vip, "ports": [{ "port": 80, "targetPort": 8080 }] },
    });
    let endpoints: Vec<_> = backends
        .iter()
        .map(|ip| json!({ "addresses": [ip] }))
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": format!("{name}-1"), "labels": { "kubernetes.io/service-name": name } },
        "addressType": "IPv4", "ports": [{ "name": "", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    });
    let services = Api::<Service>::namespaced(client.clone(), "default");
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), "default");
    services
        .create(&PostParams::default(), &serde_json::from_value(service)?)
        .await?;
    slices
        .create(&PostParams::default(), &serde_json::from_value(slice)?)
        .await?;
    Ok(())
}

fn vip(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 96, 1 + (index / 250) as u8, 1 + (index % 250) as u8)
}

fn backends(index: usize) -> [Ipv4Addr; 3] {
    [0, 1, 2].map(|n| Ipv4Addr::new(10, 245, (index / 80) as u8, ((index % 80) * 3 + n) as u8))
}

/// What the maps must hold: frontend → backends.
fn desired(web: &Pod) -> BTreeMap<String, BTreeSet<String>> {
    let name = |ip: &Ipv4Addr| format!("{ip}:8080");
    let many = (0..SERVICES).map(|i| {
        (
            format!("{}:80/TCP", vip(i)),
            backends(i).iter().map(name).collect(),
        )
    });
    many.chain([(format!("{VIP}/TCP"), BTreeSet::from([name(&web.ipv4())]))])
        .collect()
}

/// What they hold. The kubernetes Service is the API server's own.
fn actual(node: &Node) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let tables = ServiceTables::from(reader(node)?.maps());
    let rows = services::rows(&tables, &BTreeMap::new())?.into_iter();
    Ok(rows
        .filter(|row| !row.frontend.ends_with(":443/TCP"))
        .map(|row| {
            let plain = row
                .internal
                .backends
                .iter()
                .map(|b| b.trim_end_matches('*').to_owned());
            (row.frontend, plain.collect())
        })
        .collect())
}

/// Ids by backend.
fn ids(node: &Node) -> Result<BTreeMap<String, u32>> {
    let entries = reader(node)?.maps().backends4.entries()?.into_iter();
    Ok(entries
        .map(|(id, backend)| (format!("{:x}:{}", backend.address, backend.port), id))
        .collect())
}

/// New connections, about 100 a second; none may fail.
fn stream_of_connections(client: &Place, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let answer = ask_tcp(client, VIP.parse().unwrap());
        assert_eq!(
            answer
                .unwrap_or_else(|e| panic!("connection {count}: {e}"))
                .name,
            "web"
        );
        count += 1;
        thread::sleep(Duration::from_millis(8));
    }
    count
}

/// Attempts of someone whom policy denies; none may succeed.
fn stranger_tries(stranger: &Place, web: &Pod, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        for to in [VIP.parse().unwrap(), web.at(8080)[0]] {
            assert!(
                ask_tcp(stranger, to).is_err(),
                "attempt {count} of the stranger got through"
            );
            count += 1;
        }
    }
    count
}

/// Datagrams of someone whom policy denies, of both families, nearly a thousand a second of each: no gap is that short.
fn stranger_sends(stranger: &Place, web: &Pod, stop: &AtomicBool) -> usize {
    let from: [SocketAddr; 2] = [
        (Ipv4Addr::UNSPECIFIED, 0).into(),
        (Ipv6Addr::UNSPECIFIED, 0).into(),
    ];
    let sockets = from.map(|from| stranger.udp(from).unwrap());
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        for (socket, to) in sockets.iter().zip(web.at(8080)) {
            socket.send_to(b"let me in", to).unwrap();
            count += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    count
}

/// The servers serve a friend, and have heard of nobody else.
fn heard_of_friends_only(servers: &[Server], friend: &Pod) -> Result<()> {
    for server in servers {
        ask_udp(friend, server.address(), b"?").context("the friend's datagram")?;
        for peer in server.peers() {
            ensure!(
                friend.addresses().contains(&peer.ip()),
                "a datagram from {peer} got through"
            );
        }
    }
    Ok(())
}

/// What goes on all the time, until it is ended or dropped; each thread with what it means if it panics.
struct Meanwhile {
    stop: Arc<AtomicBool>,
    threads: Vec<(&'static str, JoinHandle<usize>)>,
}

impl Meanwhile {
    fn begin(friend: &Arc<Pod>, stranger: &Arc<Pod>, web: &Arc<Pod>) -> Self {
        let mut meanwhile = Self {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let client = Arc::clone(friend);
        meanwhile.go("a new connection failed", move |stop| {
            stream_of_connections(&client, stop)
        });
        let (client, server) = (Arc::clone(stranger), Arc::clone(web));
        meanwhile.go("the stranger got through", move |stop| {
            stranger_tries(&client, &server, stop)
        });
        let (client, server) = (Arc::clone(stranger), Arc::clone(web));
        meanwhile.go("the stranger could not send", move |stop| {
            stranger_sends(&client, &server, stop)
        });
        meanwhile
    }

    fn go(
        &mut self,
        fault: &'static str,
        work: impl FnOnce(&AtomicBool) -> usize + Send + 'static,
    ) {
        let stop = Arc::clone(&self.stop);
        self.threads
            .push((fault, thread::spawn(move || work(&stop))));
    }

    fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let mut counts = Vec::new();
        for (fault, thread) in self.threads.drain(..) {
            counts.push(thread.join().map_err(|_panic| anyhow!(fault))?);
        }
        let mut enough = counts.iter().zip([100, 0, 1000]);
        ensure!(
            enough.all(|(count, least)| *count > least),
            "connections, attempts, datagrams: {counts:?}"
        );
        Ok(())
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        // A test that fails must not wait for them for ever, nor they hold its pods.
        self.stop.store(true, Ordering::Relaxed);
        for (_, thread) in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

#[test]
fn killed_in_the_middle_of_a_thousand_services() -> Result<()> {
    on_a_node("agent-1000", scenario)
}

async fn scenario(node: &Node) -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.apply(OBJECTS).await?;
    let client = plane.client().await?;
    let agent = start_agent(node, &plane, &[])?;
    ready(node)?;
    let web = Arc::new(pod(&client, node, "web").await?);
    let friend = Arc::new(pod(&client, node, "client").await?);
    let stranger = Arc::new(pod(&client, node, "stranger").await?);
    let _server = Server::tcp(&web, web.at(8080)[0], "web")?;
    let servers = web.at(8080).map(|at| Server::udp(&web, at, "web"));
    let servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    service(&client, "web", Ipv4Addr::new(10, 96, 0, 10), &[web.ipv4()]).await?;
    until("the first Service to answer", PATIENCE, || {
        Ok(ask_tcp(&friend, VIP.parse()?).ok().map(drop))
    })?;

    let mut open = Talk::open(&friend, VIP.parse()?)?;
    let meanwhile = Meanwhile::begin(&friend, &stranger, &web);

    let created = AtomicUsize::new(0);
    let create = create_all(&client, &created);
    let (done, crashed) = tokio::join!(create, crash_in_the_middle(node, &plane, agent, &created));
    done?;
    let (before, _agent) = crashed?;
    let wanted = desired(&web);
    until("the maps to hold what is desired", PATIENCE, || {
        let actual = actual(node)?;
        ensure!(
            actual == wanted,
            "{} of {} frontends",
            actual.len(),
            wanted.len()
        );
        Ok(Some(()))
    })?;
    same_ids(&before, &ids(node)?)?;
    let proxyctl = program("proxyctl")?;
    node.run(&[proxyctl.to_str().context("path")?, "diff"])
        .context("nothing is left to change")?;

    open.echo("still here").context("the open connection")?;
    meanwhile.end()?;
    heard_of_friends_only(&servers, &friend)
}

fn same_ids(before: &BTreeMap<String, u32>, after: &BTreeMap<String, u32>) -> Result<()> {
    for (backend, id) in before {
        let now = after.get(backend);
        ensure!(
            now == Some(id),
            "backend {backend} had id {id}, now {now:?}"
        );
    }
    Ok(())
}

async fn create_all(client: &Client, created: &AtomicUsize) -> Result<()> {
    stream::iter(0..SERVICES)
        .map(|index| async move {
            service(client, &format!("s{index}"), vip(index), &backends(index)).await?;
            created.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .buffer_unordered(16)
        .try_collect()
        .await
}

/// Kills the agent when a third is created, starts it again when two thirds are. Gives the backends' ids at
/// the kill.
async fn crash_in_the_middle(
    node: &Node,
    plane: &ControlPlane,
    agent: Process,
    created: &AtomicUsize,
) -> Result<(BTreeMap<String, u32>, Process)> {
    let reached = async |count: usize| {
        while created.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    reached(SERVICES / 3).await;
    agent.crash()?;
    let before = ids(node)?;
    ensure!(
        before.len() > 3,
        "the agent was killed in the middle: {} backends",
        before.len()
    );
    reached(SERVICES * 2 / 3).await;
    Ok((before, start_agent(node, plane, &[])?))
}
