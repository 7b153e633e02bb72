//! The nodes, the pods and what happens to them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use weir_world::{
    Agent, Manifests, Node, Plugin, Pod, Server, World, ask_tcp, manifests::slice, until,
};

use super::{
    story::{ran, show, step, tell},
    traffic::{ask, during, told},
};

const SERVICE: &str = include_str!("service.yaml");
const POLICY: &str = include_str!("policy.yaml");
/// Port of the servers in the pods.
const PORT: u16 = 8080;
/// How long a change may take to be in the maps of both nodes.
const LIMIT: Duration = Duration::from_secs(10);
/// Connections that show a spread.
const MANY: u32 = 60;

/// Everything; fields are dropped from top to bottom.
pub(super) struct Stage {
    _servers: Vec<Server>,
    web: Vec<Pod>,
    friend: Pod,
    stranger: Pod,
    agents: Vec<Agent>,
    manifests: Manifests,
}

/// Addresses of the Service, IPv4 and IPv6.
fn service() -> [SocketAddr; 2] {
    [
        ([10, 96, 0, 80], 80).into(),
        ([0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0x80], 80).into(),
    ]
}

impl Stage {
    /// Makes nodes, agents and pods.
    pub(super) fn build() -> Result<Self> {
        step("Two nodes");
        let world = World::new("demo")?;
        let nodes = [world.node("a")?, world.node("b")?];
        for node in &nodes {
            tell(format!(
                "Node {}: its own network, mounts and cgroup; {} and {} on the fabric; pods get {}",
                node.name(),
                node.ipv4(),
                node.ipv6(),
                node.pod_ranges().join(" and ")
            ));
        }
        step("An agent on each");
        let manifests = Manifests::new()?;
        for node in &nodes {
            manifests.node(node)?;
        }
        let agents: Vec<Agent> = nodes
            .iter()
            .map(|node| Agent::start(node, &manifests, &[]))
            .collect::<Result<_>>()?;
        tell(
            "proxy-agent has loaded its programs into the kernel, pinned them, and reads manifests",
        );
        tell(
            "from a folder: the same YAML that kubectl takes. With a cluster it would watch the API.",
        );
        ran("proxyctl status", &agents[0].proxyctl(&["status"])?);
        Self::with_pods(&nodes, agents, manifests)
    }

    fn with_pods(nodes: &[Node; 2], agents: Vec<Agent>, manifests: Manifests) -> Result<Self> {
        step("Pods, wired by cni-plugin");
        let [a, b] = nodes;
        let plugin = Plugin::weir()?;
        let make = |node: &Node, name: &str, labels: Value| -> Result<Pod> {
            manifests.pending_pod(node, name, &labels)?;
            let pod = node
                .pod(&plugin, name)
                .inspect_err(|_| tell_logs(&agents))?;
            manifests.running_pod(&pod, &labels)?;
            tell(format!(
                "{name:9} on node {}: {} {} {labels}",
                node.name(),
                pod.ipv4(),
                pod.ipv6()
            ));
            Ok(pod)
        };
        let web = vec![
            make(a, "web-1", json!({ "app": "web" }))?,
            make(b, "web-2", json!({ "app": "web" }))?,
            make(b, "web-3", json!({ "app": "web" }))?,
        ];
        let friend = make(a, "friend", json!({ "role": "friend" }))?;
        let stranger = make(a, "stranger", json!({ "role": "stranger" }))?;
        let mut servers = Vec::new();
        for pod in &web {
            for at in pod.at(PORT) {
                servers.push(Server::tcp(pod, at, pod.name())?);
            }
        }
        Ok(Self {
            _servers: servers,
            web,
            friend,
            stranger,
            agents,
            manifests,
        })
    }

    /// The scenes, in order.
    pub(super) fn play(&self) -> Result<()> {
        self.spread()?;
        self.remove_a_backend()?;
        self.cut_off()
    }

    /// What the agents said, for a demo that fails.
    pub(super) fn tell_logs(&self) {
        tell_logs(&self.agents);
    }

    fn spread(&self) -> Result<()> {
        step("A Service");
        show(SERVICE);
        self.manifests.apply("service.yaml", SERVICE)?;
        self.endpoints(&self.web)?;
        for to in service() {
            until("the Service to answer", LIMIT, || {
                Ok(ask_tcp(&self.friend, to).ok())
            })?;
        }
        self.dump("services")?;
        self.dump("backends")?;
        tell(format!(
            "{MANY} connections from pod friend to each address of the Service:"
        ));
        for to in service() {
            let tally = ask(&self.friend, to, MANY)?;
            tell(format!("  {to} was answered by {}", told(&tally)));
            ensure!(
                tally.len() == self.web.len(),
                "not every backend of {to} was chosen: {}",
                told(&tally)
            );
        }
        Ok(())
    }

    fn remove_a_backend(&self) -> Result<()> {
        step("One backend goes while traffic runs");
        let ((), count) = during(&self.friend, service(), || {
            std::thread::sleep(Duration::from_millis(500));
            self.endpoints(&self.web[..2])?;
            for to in service() {
                until("web-3 to get no more connections", LIMIT, || {
                    let tally = ask(&self.friend, to, MANY)?;
                    Ok((!tally.contains_key("web-3")).then_some(()))
                })?;
            }
            std::thread::sleep(Duration::from_millis(500));
            Ok(())
        })?;
        tell(format!(
            "{count} connections were made meanwhile, none failed. Now:"
        ));
        self.dump("backends")?;
        for to in service() {
            let tally = ask(&self.friend, to, MANY)?;
            tell(format!("  {to} is answered by {}", told(&tally)));
            ensure!(!tally.contains_key("web-3"), "web-3 was still chosen");
        }
        Ok(())
    }

    fn cut_off(&self) -> Result<()> {
        step("A NetworkPolicy cuts one client off");
        for to in service() {
            ask(&self.stranger, to, 5)?;
        }
        tell("Pod stranger reaches the Service. Then comes:");
        show(POLICY);
        let ((), count) = during(&self.friend, service(), || {
            self.manifests.apply("policy.yaml", POLICY)?;
            for to in service() {
                until("stranger to be cut off", LIMIT, || {
                    Ok(ask_tcp(&self.stranger, to).err())
                })?;
            }
            Ok(())
        })?;
        for to in service() {
            let lost = ask_tcp(&self.stranger, to);
            ensure!(lost.is_err(), "stranger still reaches {to}: {lost:?}");
            tell(format!("  stranger to {to}: {}", told_error(lost.err())));
            tell(format!(
                "  friend   to {to}: {}",
                told(&ask(&self.friend, to, 10)?)
            ));
        }
        tell(format!(
            "{count} connections of friend were made meanwhile, none failed."
        ));
        self.dump("policy")?;
        let words = [
            "policy",
            "why",
            "default/stranger",
            "default/web-1",
            "8080/TCP",
        ];
        let (code, answer) = self.agents[0].proxyctl_verdict(&words)?;
        ran(&format!("proxyctl {}", words.join(" ")), &answer);
        ensure!(code == 1, "policy why should say no: code {code}");
        ran("proxyctl status", &self.agents[0].proxyctl(&["status"])?);
        Ok(())
    }

    /// Makes these pods the endpoints of the Service, as a controller would.
    fn endpoints(&self, web: &[Pod]) -> Result<()> {
        let ports = json!([{ "name": "http", "port": PORT, "protocol": "TCP" }]);
        let list = |of: &dyn Fn(&Pod) -> String| -> Value {
            let ready: Vec<(String, &str)> =
                web.iter().map(|pod| (of(pod), pod.node().name())).collect();
            slice("web", &ports, &ready)
        };
        let slices = [
            list(&|pod| pod.ipv4().to_string()),
            list(&|pod| pod.ipv6().to_string()),
        ];
        self.manifests.apply_objects("endpoints.yaml", &slices)?;
        Ok(())
    }

    fn dump(&self, subject: &str) -> Result<()> {
        let output = self.agents[0].proxyctl(&["dump", subject])?;
        ran(&format!("proxyctl dump {subject}"), &output);
        Ok(())
    }
}

fn tell_logs(agents: &[Agent]) {
    for agent in agents {
        tell("log of an agent:");
        show(&agent.log());
    }
}

fn told_error(error: Option<std::io::Error>) -> String {
    error.map_or_else(String::new, |error| error.to_string())
}
