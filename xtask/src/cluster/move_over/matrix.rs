//! Who reaches whom: every pod, and a client outside, asks for everything in both families.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Journey;
use super::objects::{self, HOST_NETWORK_PORT, HOST_PORT, NAMESPACE, PORT};
use super::workload::{self, Pod, Service};
use crate::cluster::place::Place;
use crate::cluster::shape::{Link, Shape};
use crate::cluster::{kubectl, lab::Node};
use crate::run;

/// What was changed a moment ago may take as long to be known everywhere.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is asked, and who should answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    what: String,
    url: String,
    answer: String,
}

impl Target {
    fn new(what: impl Into<String>, at: &str, port: u16, answer: &str) -> Self {
        let at = if at.contains(':') {
            format!("[{at}]")
        } else {
            at.to_owned()
        };
        Self {
            what: what.into(),
            url: format!("http://{at}:{port}/hostname"),
            answer: answer.to_owned(),
        }
    }
}

impl Journey<'_> {
    /// Judges whom each client reaches.
    pub(super) fn matrix(&mut self, when: &str) -> Result<()> {
        let pods = workload::pods(self.lab, self.shape)?;
        let services = workload::services(self.lab, self.shape)?;
        let from_outside = outside(self.shape, &pods);
        let mut inside = inside(&pods, &services);
        inside.extend(from_outside.iter().cloned());
        for pod in &pods {
            let who = format!("{when}: {} on {} reaches all", pod.app, pod.node.name());
            let found = reaches(&inside, || self.in_pod(pod));
            self.report.judge(who, found);
        }
        let found = reaches(&from_outside, || {
            let mut sh = Place::fabric(self.lab).command("sh");
            sh.args(["-c", ASK]);
            Ok(sh)
        });
        let who = format!("{when}: a client outside reaches nodes' ports");
        self.report.judge(who, found);
        Ok(())
    }

    fn in_pod(&self, pod: &Pod) -> Result<Command> {
        let mut exec = kubectl(self.lab)?;
        exec.args(["--namespace", NAMESPACE, "exec", "-i", &pod.name, "--"])
            .args(["sh", "-c", ASK]);
        Ok(exec)
    }
}

/// Asks for all, each by a connection of its own; what came of it is in what it prints.
const ASK: &str = "curl --config - || true";

/// What only pods and nodes reach.
fn inside(pods: &[Pod], services: &[Service]) -> Vec<Target> {
    let mut all = Vec::new();
    for pod in pods {
        let (port, answer) = match pod.app.as_str() {
            "host" => (HOST_NETWORK_PORT, pod.node.name()),
            _ => (PORT, pod.name.clone()),
        };
        let what = format!("{} on {}", pod.app, pod.node.name());
        all.extend(
            pod.ips
                .iter()
                .map(|ip| Target::new(&what, ip, port, &answer)),
        );
    }
    for service in services {
        let Some(answer) = of_web(pods, service.node) else {
            continue;
        };
        let name = objects::web(service.node);
        let what = format!("ClusterIP of {name}");
        all.extend(
            service
                .ips
                .iter()
                .map(|ip| Target::new(&what, ip, 80, answer)),
        );
        let host = format!("{name}.{NAMESPACE}.svc.cluster.local");
        all.push(Target::new(format!("name of {name}"), &host, 80, answer));
    }
    all
}

/// What everybody reaches: each node's `NodePorts`, and its `hostPort`.
fn outside(shape: Shape, pods: &[Pod]) -> Vec<Target> {
    let mut all = Vec::new();
    let nodes: Vec<Node> = shape.all().collect();
    for at in &nodes {
        let addresses = shape.address(*at, Link(0)).words();
        for of in &nodes {
            let Some(answer) = of_web(pods, *of) else {
                continue;
            };
            let what = format!("NodePort of {} at {}", objects::web(*of), at.name());
            let port = objects::node_port(*of);
            all.extend(
                addresses
                    .iter()
                    .map(|ip| Target::new(&what, ip, port, answer)),
            );
        }
        if let Some(answer) = of_web(pods, *at) {
            let what = format!("hostPort of {}", at.name());
            all.extend(
                addresses
                    .iter()
                    .map(|ip| Target::new(&what, ip, HOST_PORT, answer)),
            );
        }
    }
    all
}

fn of_web(pods: &[Pod], node: Node) -> Option<&str> {
    let mut web = pods
        .iter()
        .filter(|pod| pod.app == "web" && pod.node == node);
    web.next().map(|pod| pod.name.as_str())
}

/// Asks until all answer, or patience ends.
fn reaches(targets: &[Target], client: impl Fn() -> Result<Command>) -> Result<String> {
    ensure!(!targets.is_empty(), "there is nothing to ask");
    let deadline = Instant::now() + PATIENCE;
    let mut left: Vec<&Target> = targets.iter().collect();
    loop {
        let said = run::fed(&mut client()?, &config(&left))?;
        let good = answered(&said);
        left.retain(|target| !good.contains(&(target.url.as_str(), target.answer.as_str())));
        if left.is_empty() {
            return Ok(format!("{} answers", targets.len()));
        }
        if Instant::now() > deadline {
            let left = left.iter().map(|it| format!("{} ({})", it.what, it.url));
            let left: Vec<String> = left.collect();
            let count = left.len();
            anyhow::bail!(
                "{count} of {} do not answer: {}",
                targets.len(),
                left.join(", ")
            );
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// curl's configuration.
fn config(targets: &[&Target]) -> String {
    let mut text = String::from(
        "silent\ngloboff\nmax-time = 2\nheader = \"Connection: close\"\nwrite-out = \"\\t%{exitcode}\\t%{url}\\n\"\n",
    );
    let urls = targets.iter().map(|it| format!("url = \"{}\"\n", it.url));
    text.extend(urls);
    text
}

/// Address and answer of those that answered.
fn answered(said: &str) -> BTreeSet<(&str, &str)> {
    let lines = said
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>());
    let good = lines.filter_map(|words| match words[..] {
        [answer, "0", url] => Some((url, answer)),
        _ => None,
    });
    good.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_counts() {
        let said = "web-1\t0\thttp://a/hostname\n\t28\thttp://b/hostname\n";
        let good = answered(said);
        assert!(good.contains(&("http://a/hostname", "web-1")));
        assert_eq!(good.len(), 1);
        let v6 = Target::new("x", "fd00::1", 80, "n");
        assert_eq!(v6.url, "http://[fd00::1]:80/hostname");
        assert!(config(&[&v6]).ends_with("url = \"http://[fd00::1]:80/hostname\"\n"));
    }
}
