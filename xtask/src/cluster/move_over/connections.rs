//! Connections that must outlive a node's move.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::Journey;
use super::objects::{self, HOST_NETWORK_PORT, PORT};
use super::talk::Seen;
use super::workload::{self, Pod};
use crate::cluster::lab::Node;
use crate::cluster::place::Place;
use crate::cluster::shape::Link;
use crate::run;

/// As the talker itself waits, and a little.
const PATIENCE: Duration = Duration::from_secs(25);

/// One of them.
struct Connection {
    name: String,
    child: Child,
    count: PathBuf,
    log: PathBuf,
}

/// Those that a node's move must not cut.
pub(super) struct Connections {
    all: Vec<Connection>,
    folder: TempDir,
}

/// Where one begins.
enum From<'a> {
    Pod(&'a Pod),
    Node(Node),
    Outside,
}

impl Connection {
    fn seen(&mut self) -> Result<Seen> {
        if let Some(status) = self.child.try_wait()? {
            let why = run::tail(&self.log)?;
            bail!("{} ended ({status}): {}", self.name, why.trim());
        }
        Seen::read(&self.count)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It may have ended by itself; both calls fail then, and nothing is left to be done.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Connections {
    /// Opens them before a node moves: between all others, and those of the node that nobody drains. `left`: also what packets
    /// of the node itself are translated for, and pods that stay.
    pub(super) fn open(journey: &Journey<'_>, moving: Node, left: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut connections = Self {
            all: Vec::new(),
            folder,
        };
        let pods = workload::pods(journey.lab, journey.shape)?;
        let services = workload::services(journey.lab, journey.shape)?;
        let others: Vec<Node> = journey.shape.all().filter(|it| *it != moving).collect();
        for to in &others {
            let pod = find(&pods, "web", *to)?;
            let service = services.iter().find(|it| it.node == *to);
            let service = &service.context("a Service is missing")?.ips;
            for from in others.iter().filter(|it| *it != to) {
                let web = From::Pod(find(&pods, "web", *from)?);
                connections.add(journey, &web, "pod", *to, &pod.ips, PORT)?;
                connections.add(journey, &web, "ClusterIP", *to, service, 80)?;
                connections.add(journey, &From::Node(*from), "ClusterIP", *to, service, 80)?;
                let at = journey.shape.address(*from, Link(0)).words();
                let port = objects::node_port(*to);
                let what = format!("NodePort at {}", from.name());
                connections.add(journey, &From::Outside, &what, *to, &at, port)?;
            }
            connections.add(journey, &From::Node(moving), "ClusterIP", *to, service, 80)?;
            let host = find(&pods, "host", moving)?;
            let web = From::Pod(pod);
            let port = HOST_NETWORK_PORT;
            connections.add(journey, &web, "host network", moving, &host.ips, port)?;
            if left {
                let stay = From::Pod(find(&pods, "stay", moving)?);
                connections.add(journey, &stay, "pod", *to, &pod.ips, PORT)?;
                connections.add(journey, &stay, "ClusterIP", *to, service, 80)?;
                let at = journey.shape.address(moving, Link(0)).words();
                let port = objects::node_port(*to);
                let what = format!("NodePort at {}", moving.name());
                connections.add(journey, &From::Outside, &what, *to, &at, port)?;
            }
        }
        connections.alive()?;
        Ok(connections)
    }

    fn add(
        &mut self,
        journey: &Journey<'_>,
        from: &From<'_>,
        what: &str,
        to: Node,
        ips: &[String],
        port: u16,
    ) -> Result<()> {
        for ip in ips {
            let ip: IpAddr = ip.parse().with_context(|| format!("{ip} is no address"))?;
            let number = self.all.len();
            let path = |end: &str| self.folder.path().join(format!("{number}.{end}"));
            let (count, log) = (path("count"), path("log"));
            let file = File::create(&log)?;
            let mut command = command(journey, from)?;
            command
                .args(["cluster", "talk"])
                .arg(SocketAddr::new(ip, port).to_string())
                .arg(&count);
            let place = match from {
                From::Pod(pod) => Place::node(journey.lab, pod.node),
                From::Node(node) => Place::node(journey.lab, *node),
                From::Outside => Place::fabric(journey.lab),
            };
            let mut inside = place.inside(&command)?;
            inside
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file);
            let shown = run::shown(&inside);
            let child = inside
                .spawn()
                .with_context(|| format!("cannot start `{shown}`"))?;
            let name = format!("{} to {what} {} ({ip})", name(from), to.name());
            self.all.push(Connection {
                name,
                child,
                count,
                log,
            });
        }
        Ok(())
    }

    /// Ends those that begin at a pod which is about to be deleted.
    pub(super) fn end_of(&mut self, pod: &Pod) {
        let gone = name(&From::Pod(pod));
        self.all.retain(|it| !it.name.starts_with(&gone));
    }

    /// An error unless each gets answers still.
    pub(super) fn alive(&mut self) -> Result<String> {
        ensure!(!self.all.is_empty(), "there are no connections");
        let before: Vec<u64> = self.answers()?.iter().map(|seen| seen.answers).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            thread::sleep(Duration::from_millis(200));
            let now = self.answers()?;
            let silent = now
                .iter()
                .zip(&before)
                .position(|(now, before)| now.answers <= *before);
            let Some(silent) = silent else {
                let answers: u64 = now.iter().map(|seen| seen.answers).sum();
                let longest = now.iter().map(|seen| seen.longest).max().unwrap_or(0);
                return Ok(format!(
                    "{} connections, {answers} answers, the longest after {longest} ms",
                    self.all.len()
                ));
            };
            if Instant::now() > deadline {
                bail!("{} gets no answer any more", self.all[silent].name);
            }
        }
    }

    fn answers(&mut self) -> Result<Vec<Seen>> {
        let (mut seen, mut lost) = (Vec::new(), Vec::new());
        for connection in &mut self.all {
            match connection.seen() {
                Ok(one) => seen.push(one),
                Err(error) => lost.push(format!("{error:#}")),
            }
        }
        ensure!(lost.is_empty(), "{} lost: {}", lost.len(), lost.join("; "));
        Ok(seen)
    }
}

fn name(from: &From<'_>) -> String {
    match from {
        From::Pod(pod) => format!("{} on {}", pod.app, pod.node.name()),
        From::Node(node) => format!("host {}", node.name()),
        From::Outside => "outside".to_owned(),
    }
}

/// This program, in the network of who talks.
fn command(journey: &Journey<'_>, from: &From<'_>) -> Result<Command> {
    let own = std::env::current_exe().context("cannot find our own program")?;
    let mut command = Command::new("nsenter");
    match from {
        From::Pod(pod) => command.arg(format!("--net=/proc/{}/ns/net", pod.process()?)),
        From::Node(node) => {
            let net = journey
                .lab
                .namespaces()
                .join(format!("{}.net", node.name()));
            command.arg(format!("--net={}", net.display()))
        }
        From::Outside => {
            let net = journey.lab.namespaces().join("fabric.net");
            command.arg(format!("--net={}", net.display()))
        }
    };
    command.arg("--").arg(own);
    Ok(command)
}

/// The pod of a kind on a node.
pub(super) fn find<'a>(pods: &'a [Pod], app: &str, node: Node) -> Result<&'a Pod> {
    let mut found = pods.iter().filter(|pod| pod.app == app && pod.node == node);
    let found = found.next();
    found.with_context(|| format!("there is no pod {app} on {}", node.name()))
}
